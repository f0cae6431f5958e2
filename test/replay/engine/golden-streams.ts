/**
 * The streams of `golden-synthetic.csv`, and the misses that they must give: counts on which two
 * independent implementations of each policy agree.
 */
import { readFileSync } from 'node:fs';
import { buildPageStream, type PageStream } from '../../../src/replay/engine/page-stream.ts';
import { OP, RequestBatch } from '../../../src/trace/request-batch.ts';
import { type StreamName, stream } from '../../policy/golden-synthetic.ts';

export interface GoldenRow {
  readonly stream: StreamName;
  readonly policy: string;
  readonly capacityPages: number;
  readonly requests: number;
  readonly misses: number;
}

export function goldenRows(): GoldenRow[] {
  const text = readFileSync(new URL('golden-synthetic.csv', import.meta.url), 'utf8');
  const [, ...lines] = text.trim().split('\n');
  return lines.map((line) => {
    const [name = '', policy = '', capacityPages, requests, misses] = line.split(',');
    return {
      stream: name as StreamName,
      policy,
      capacityPages: Number(capacityPages),
      requests: Number(requests),
      misses: Number(misses),
    };
  });
}

/** A page stream of keys in order. */
export function streamOfKeys(name: string, keys: Iterable<number>): Promise<PageStream> {
  return buildPageStream({
    name,
    unit: 'keys',
    volumes: [name],
    canRereads: true,
    async *batches() {
      const batch = new RequestBatch();
      for (const key of keys) {
        batch.push(0, key, 1, 0, OP.read, 0, 0);
        if (batch.count < batch.capacity) continue;
        yield batch;
        batch.count = 0;
      }
      yield batch;
    },
  });
}

export function goldenStream(name: StreamName): Promise<PageStream> {
  return streamOfKeys(name, stream(name));
}
