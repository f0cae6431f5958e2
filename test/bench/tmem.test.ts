import { describe, expect, it } from 'vitest';
import { parseCounters, throughFault, warmthFault } from '../../bench/tmem.ts';

const PAGE = `# HELP tmem_gets_total Gets by layer and outcome.
# TYPE tmem_gets_total counter
tmem_gets_total{layer="hot",outcome="hit"} 20
tmem_gets_total{layer="hot",outcome="miss"} 7
tmem_gets_total{layer="zcache",outcome="hit"} 4
tmem_backing_requests_total{export="bench",op="read"} 3
tmem_backing_requests_total{export="other",op="read"} 2
tmem_backing_requests_total{export="bench",op="write"} 9
tmem_nbd_requests_total{export="bench",command="write",error=""} 8
tmem_nbd_requests_total{export="bench",command="write",error="EIO"} 5
tmem_nbd_requests_total{export="bench",command="read",error=""} 6
tmem_nbd_connections 1
`;

describe('counters of a metrics page', () => {
  it('are the hits of each layer, and the requests for the images', () => {
    expect(parseCounters(PAGE)).toEqual({
      hitsByLayer: { hot: 20, zcache: 4 },
      backingReads: 5,
      backingWrites: 9,
      writes: 8,
    });
  });
});

describe('warmth of a measurement', () => {
  const writes = { backingWrites: 0, writes: 0 };
  const earlier = { hitsByLayer: { hot: 100, zcache: 50 }, backingReads: 5, ...writes };
  const later = (hot: number, zcache: number, backingReads = 5) => ({
    hitsByLayer: { hot: 100 + hot, zcache: 50 + zcache },
    backingReads,
    ...writes,
  });

  it('has no fault when nearly all hits were in the layer that is measured', () => {
    expect(warmthFault(earlier, later(97, 3), 'hot')).toBeUndefined();
    expect(warmthFault(earlier, later(0, 100), 'zcache')).toBeUndefined();
  });

  it('has a fault when the hits were elsewhere or there were none', () => {
    expect(warmthFault(earlier, later(50, 50), 'hot')).toMatch('50 in hot, 50 in zcache');
    expect(warmthFault(earlier, later(97, 3), 'zcache')).toBeDefined();
    expect(warmthFault(earlier, later(0, 0), 'zcache')).toBeDefined();
  });

  it('has a fault when the image was read', () => {
    expect(warmthFault(earlier, later(100, 0, 6), 'hot')).toMatch('1 reads went to the image');
  });
});

describe('a measurement of writing through', () => {
  const counters = (writes: number, backingWrites: number) => ({
    ...{ hitsByLayer: {}, backingReads: 0, writes, backingWrites },
  });

  it('has a fault when fewer writes went to the image than were answered, or none', () => {
    expect(throughFault(counters(5, 7), counters(15, 17))).toBeUndefined();
    expect(throughFault(counters(5, 7), counters(15, 16))).toMatch('10 writes were answered, 9');
    expect(throughFault(counters(5, 7), counters(5, 9))).toBeDefined();
  });
});
