/** Several files of one trace, merged by time. */

import { RequestBatch } from './request-batch.ts';

/** A file that is to be merged with others. */
export interface MergeInput {
  /** No request of the file is before it, microseconds: it is opened no sooner. */
  readonly firstTimeUs: number;
  /** The requests in order of time; the batch is the same object every time. */
  open(): AsyncGenerator<RequestBatch>;
}

/** How far a file has been merged. */
interface Cursor {
  readonly batches: AsyncGenerator<RequestBatch>;
  /** Decides between equal times. */
  readonly order: number;
  batch: RequestBatch;
  index: number;
  timeUs: number;
}

function isBefore(one: Cursor, other: Cursor): boolean {
  return one.timeUs < other.timeUs || (one.timeUs === other.timeUs && one.order < other.order);
}

/** Moves the cursor at `at` down to where it belongs; the smallest is at 0. */
function siftDown(heap: Cursor[], at: number): void {
  const moved = heap[at];
  if (moved === undefined) return;
  let hole = at;
  for (;;) {
    const left = heap[2 * hole + 1];
    const right = heap[2 * hole + 2];
    if (left === undefined) break;
    const isRight = right !== undefined && isBefore(right, left);
    const child = isRight ? right : left;
    if (!isBefore(child, moved)) break;
    heap[hole] = child;
    hole = 2 * hole + (isRight ? 2 : 1);
  }
  heap[hole] = moved;
}

function siftUp(heap: Cursor[]): void {
  for (let at = heap.length - 1; at > 0; ) {
    const parent = (at - 1) >> 1;
    const [upper, lower] = [heap[parent], heap[at]];
    if (upper === undefined || lower === undefined || !isBefore(lower, upper)) return;
    heap[parent] = lower;
    heap[at] = upper;
    at = parent;
  }
}

/** Goes to the next batch of a file; answers false at its end. */
async function refill(cursor: Cursor): Promise<boolean> {
  const { done, value } = await cursor.batches.next();
  if (done === true || value.count === 0) return false;
  cursor.batch = value;
  cursor.index = 0;
  cursor.timeUs = value.timeUs[0] ?? 0;
  return true;
}

/** Until when the first of the heap may go on without looking at the others. */
function turnEnd(heap: readonly Cursor[], waiting: MergeInput | undefined): number {
  return Math.min(
    heap[1]?.timeUs ?? Number.POSITIVE_INFINITY,
    heap[2]?.timeUs ?? Number.POSITIVE_INFINITY,
    waiting?.firstTimeUs ?? Number.POSITIVE_INFINITY,
  );
}

/**
 * The requests of all files in order of time, if those of each file are; equal times in the order
 * of the files. `openMax` files are open at once, and `refuse` is called for one more.
 */
export async function* mergeByTime(
  inputs: readonly MergeInput[],
  openMax: number,
  refuse: () => never,
): AsyncGenerator<RequestBatch> {
  const out = new RequestBatch();
  const waiting = inputs
    .map((input, order) => ({ input, order }))
    .sort(
      (one, other) => one.input.firstTimeUs - other.input.firstTimeUs || one.order - other.order,
    );
  const heap: Cursor[] = [];
  const opened: AsyncGenerator<RequestBatch>[] = [];
  try {
    while (heap.length > 0 || waiting.length > 0) {
      const next = waiting[0];
      const first = heap[0];
      if (next !== undefined && (first === undefined || next.input.firstTimeUs <= first.timeUs)) {
        waiting.shift();
        if (heap.length === openMax) refuse();
        const batches = next.input.open();
        opened.push(batches);
        const cursor = { batches, order: next.order, batch: out, index: 0, timeUs: 0 };
        if (await refill(cursor)) {
          heap.push(cursor);
          siftUp(heap);
        }
        continue;
      }
      if (first === undefined) break;
      if (takeTurn(first, turnEnd(heap, next?.input), out)) {
        yield out;
        out.count = 0;
      }
      if (first.index === first.batch.count && !(await refill(first))) removeFirst(heap);
      siftDown(heap, 0);
    }
    if (out.count > 0) yield out;
  } finally {
    for (const batches of opened) await batches.return(undefined);
  }
}

function removeFirst(heap: Cursor[]): void {
  const last = heap.pop();
  if (last !== undefined && heap.length > 0) heap[0] = last;
}

/** Moves requests up to `endUs`, at least one; answers whether `out` is full. */
function takeTurn(cursor: Cursor, endUs: number, out: RequestBatch): boolean {
  const { batch } = cursor;
  let { index, timeUs } = cursor;
  do {
    out.pushFrom(batch, index++);
    if (index === batch.count) break;
    timeUs = batch.timeUs[index]!;
  } while (timeUs < endUs && out.count < out.capacity);
  cursor.index = index;
  cursor.timeUs = timeUs;
  return out.count === out.capacity;
}
