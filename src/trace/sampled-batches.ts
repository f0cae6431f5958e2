/** Batches with the sampled pages of their requests alone. */

import type { PageSampler } from './own/page-sampler.ts';
import { RequestBatch } from './request-batch.ts';
import type { Trace } from './trace.ts';

/**
 * The runs of pages that `sampler` takes, each as a request of its own, in the same order. The batch
 * is the same object every time. Volumes must have the numbers that the sample goes by. Operations
 * of which `isKept` says so stay as they are.
 */
export async function* sampledBatches(
  batches: AsyncIterable<RequestBatch>,
  unit: Trace['unit'],
  sampler: PageSampler,
  isKept: (op: number) => boolean = () => false,
): AsyncGenerator<RequestBatch> {
  const out = new RequestBatch();
  const isKey = unit === 'keys';
  for await (const batch of batches) {
    for (let index = 0; index < batch.count; index++) {
      sampler.begin(batch.volume[index]!, batch.offset[index]!, batch.length[index]!, isKey);
      if (isKept(batch.op[index]!)) sampler.takeWhole();
      while (sampler.next()) {
        pushRun(out, batch, index, sampler);
        if (out.count < out.capacity) continue;
        yield out;
        out.count = 0;
      }
    }
  }
  if (out.count > 0) yield out;
}

/** Adds the run to `out`, with its part of what the request's content compresses to. */
function pushRun(
  out: RequestBatch,
  batch: RequestBatch,
  index: number,
  { runOffset, runLength }: PageSampler,
): void {
  const at = out.count;
  out.pushFrom(batch, index);
  out.offset[at] = runOffset;
  out.length[at] = runLength;
  const content = batch.contentBytes[index]!;
  if (content > 0 && runLength < batch.length[index]!) {
    out.contentBytes[at] = Math.max(1, Math.round((content * runLength) / batch.length[index]!));
  }
}
