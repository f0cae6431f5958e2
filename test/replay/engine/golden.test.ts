import { beforeAll, describe, expect, it } from 'vitest';
import type { PageStream } from '../../../src/replay/engine/page-stream.ts';
import { simulate } from '../../../src/replay/engine/simulate.ts';
import type { StreamName } from '../../policy/golden-synthetic.ts';
import { goldenRows, goldenStream } from './golden-streams.ts';

const rows = goldenRows();
const names = [...new Set(rows.map(({ stream }) => stream))];

describe.each(names)('simulated on the stream %s', (name: StreamName) => {
  let stream: PageStream;
  beforeAll(async () => {
    stream = await goldenStream(name);
  });
  const policies = new Set(rows.filter((row) => row.stream === name).map(({ policy }) => policy));

  it.each([...policies])('%s misses exactly as often as is known', (policy) => {
    const expected = rows.filter((row) => row.stream === name && row.policy === policy);
    const actual = expected.map(({ capacityPages }) => {
      const { requests, misses } = simulate(stream, { policy, capacityPages });
      return { stream: name, policy, capacityPages, requests, misses };
    });
    expect(actual).toEqual(expected);
  });
});
