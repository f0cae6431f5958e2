/** Page streams without a trace. */

import type { PageStream } from '../../../src/replay/engine/page-stream.ts';
import type { Stream } from './streams.ts';

/** A stream of reads of one volume, on shared memory, as the engine takes it. */
export function pageStreamOf({ name, ids, pageCount }: Stream): PageStream {
  const shared = new Int32Array(new SharedArrayBuffer(ids.length * 4));
  shared.set(ids);
  return {
    traceName: name,
    canRereads: true,
    ops: 'all',
    pageBytes: 4096,
    sampleRate: 1,
    ids: shared,
    requestCount: ids.length,
    accessCount: ids.length,
    pageCount,
    writeBits: undefined,
    volumes: ['disk'],
    volumeOfPage: new Uint16Array(pageCount),
    numberOfPage: Float64Array.from({ length: pageCount }, (_, page) => page),
    times: new Float64Array(0),
    timeStride: 1,
    firstTimeUs: 0,
    lastTimeUs: 0,
  };
}
