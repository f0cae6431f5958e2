/** What one long scan does to a policy: a stream with a scan in its middle, run beside itself. */

import type { PageStream } from '../engine/page-stream.ts';
import type { RunResult } from '../engine/run.ts';

/** Pages of the scan for each page of the cache. */
export const SCAN_FACTOR = 2;

/**
 * `stream` with a scan in its middle: `scanPages` pages that are in it nowhere else, each touched
 * `touches` times in a row. Times are left out.
 */
export function withScan(stream: PageStream, scanPages: number, touches: number): PageStream {
  const { ids, pageCount, writeBits } = stream;
  const middle = ids.length >>> 1;
  const scanLength = scanPages * touches;
  const requestCount = ids.length + scanLength;
  const longer = new Int32Array(new SharedArrayBuffer(requestCount * 4));
  // Numbers are given in the order of first use, so those first used later move up.
  let seen = 0;
  for (let at = 0; at < middle; at++) {
    longer[at] = ids[at]!;
    if (ids[at]! >= seen) seen = ids[at]! + 1;
  }
  for (let at = 0; at < scanLength; at++) longer[middle + at] = seen + Math.floor(at / touches);
  for (let at = middle; at < ids.length; at++) {
    longer[at + scanLength] = ids[at]! < seen ? ids[at]! : ids[at]! + scanPages;
  }
  return {
    ...stream,
    ids: longer,
    requestCount,
    accessCount: stream.accessCount + scanLength,
    pageCount: pageCount + scanPages,
    writeBits: writeBits && withGap(writeBits, ids.length, middle, scanLength),
    ...namesWithScan(stream, seen, scanPages),
    times: new Float64Array(new SharedArrayBuffer(0)),
  };
}

function withGap(bits: Int32Array, length: number, middle: number, gap: number): Int32Array {
  const shifted = new Int32Array(new SharedArrayBuffer(Math.ceil((length + gap) / 32) * 4));
  for (let at = 0; at < length; at++) {
    if ((bits[at >>> 5]! & (1 << (at & 31))) === 0) continue;
    const to = at < middle ? at : at + gap;
    shifted[to >>> 5] = shifted[to >>> 5]! | (1 << (to & 31));
  }
  return shifted;
}

/** The scan is of the first volume, far behind all that the trace has there. */
function namesWithScan(stream: PageStream, seen: number, scanPages: number) {
  const count = stream.pageCount + scanPages;
  const volumeOfPage = new Uint16Array(new SharedArrayBuffer(count * 2));
  const numberOfPage = new Float64Array(new SharedArrayBuffer(count * 8));
  volumeOfPage.set(stream.volumeOfPage.subarray(0, seen));
  volumeOfPage.set(stream.volumeOfPage.subarray(seen), seen + scanPages);
  numberOfPage.set(stream.numberOfPage.subarray(0, seen));
  numberOfPage.set(stream.numberOfPage.subarray(seen), seen + scanPages);
  const first = 2 ** 50;
  for (let page = 0; page < scanPages; page++) numberOfPage[seen + page] = first + page;
  return { volumeOfPage, numberOfPage };
}

/**
 * How many more of the stream's own accesses missed, as a share of the capacity. Of the scan's
 * accesses one a page is a miss, since the others follow at once.
 */
export function damageOf(
  without: RunResult,
  scanned: RunResult,
  scanPages: number,
  capacityPages: number,
): number {
  return (scanned.misses - scanPages - without.misses) / capacityPages;
}
