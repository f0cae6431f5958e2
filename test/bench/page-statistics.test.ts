import { describe, expect, it } from 'vitest';
import { PAGE_BYTES, PageStatistics, ratioOf } from '../../bench/page-statistics.ts';

/** Stands in for LZ4: a page takes as many bytes as the number it begins with; 0 is "no room". */
function encode(source: Buffer): number {
  return source.readUInt16LE(0);
}

function page(encodedBytes: number): Buffer {
  const bytes = Buffer.alloc(PAGE_BYTES, 1);
  bytes.writeUInt16LE(encodedBytes, 0);
  return bytes;
}

function measured(...parts: Buffer[]): PageStatistics {
  const statistics = new PageStatistics(encode);
  statistics.add(Buffer.concat(parts));
  return statistics;
}

describe('page statistics', () => {
  it('leave zero pages out of the ratio', () => {
    const statistics = measured(page(1024), Buffer.alloc(9 * PAGE_BYTES), page(3072));
    expect(statistics.counts()).toEqual({
      pages: 11,
      zeroPages: 9,
      incompressiblePages: 0,
      storedBytes: 4096,
    });
    expect(ratioOf(statistics)).toBe(2);
  });

  it('count a page that does not get smaller whole', () => {
    const statistics = measured(page(0), page(4096), page(4112));
    expect(statistics.incompressiblePages).toBe(3);
    expect(ratioOf(statistics)).toBe(1);
  });

  it('pad the last part of a page with zeros, whatever the page before it held', () => {
    expect(measured(page(1), Buffer.alloc(10)).zeroPages).toBe(1);
  });
});
