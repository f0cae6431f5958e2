/** An export that writes back, over a stack that refuses what a test wants, and a turned clock. */

import { Export } from '../../../src/export/export.ts';
import type { WriteFailure } from '../../../src/export/writes/writer.ts';
import type { WriterTuning } from '../../../src/export/writes/writer-plan.ts';
import type { BlockImage } from '../../../src/image/image.ts';
import { rawImage } from '../../../src/image/raw.ts';
import { loadCodec } from '../../../src/layers/codec.ts';
import { Hot } from '../../../src/layers/hot.ts';
import { Zcache } from '../../../src/layers/zcache.ts';
import { BufferPool } from '../../../src/lib/buffer-pool.ts';
import { policyFactoryFor } from '../../../src/policy/policies.ts';
import type { Storage } from '../../../src/storage/storage.ts';
import { Cleancache } from '../../../src/tmem/cleancache.ts';
import { Frontswap } from '../../../src/tmem/frontswap.ts';
import { Tmem } from '../../../src/tmem/tmem.ts';
import { FaultyStorage } from '../../storage/faulty-storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { KIB, MIB, noise, write } from '../fixture.ts';
import { TurnedClock } from '../turned-clock.ts';

export interface WriteBackOptions {
  readonly sizeBytes?: number;
  readonly pageBytes?: number;
  readonly limitPages?: number;
  readonly memoryBytes?: number;
  readonly hasHot?: boolean;
  readonly tuning?: Partial<WriterTuning>;
  readonly mode?: 'writeback' | 'swap';
  /** What is written to; by default a raw image on the storage. */
  readonly image?: BlockImage;
  /** Asked before every allocation of the stack. */
  readonly mayAllocate?: () => boolean;
  /** Buffers that exports have in common; default their own. */
  readonly writerBuffers?: BufferPool;
}

const codec = loadCodec();

/** Buffers for requests, and for the writers. */
const REQUEST_BUFFERS_BYTES = 4 * MIB;
const WRITER_BUFFERS_BYTES = 1;

/** An export of `storage`, written back, with a stack of its own. */
export function writeBackOn(storage: Storage, options: WriteBackOptions = {}) {
  const { pageBytes = 4 * KIB, limitPages = 1000, memoryBytes = 8 * MIB, hasHot = true } = options;
  const { mayAllocate = () => true } = options;
  const policy = policyFactoryFor('s3fifo-cw');
  const common = { pageBytesMax: pageBytes, policy, mayAllocate };
  const zcache = new Zcache({ ...common, limitBytes: memoryBytes / 2, codec });
  const hot = hasHot
    ? new Hot({ ...common, limitBytes: memoryBytes / 2, next: zcache })
    : undefined;
  const tmem = new Tmem(hot === undefined ? [zcache] : [hot, zcache]);
  const account = tmem.createAccount({ name: 'disk' });
  const cache = new Cleancache(tmem, pageBytes, hot, account);
  const frontswap = new Frontswap(tmem, pageBytes, hot, account);
  const clock = new TurnedClock();
  const buffers = new BufferPool(REQUEST_BUFFERS_BYTES, pageBytes);
  const writerBuffers = options.writerBuffers ?? new BufferPool(WRITER_BUFFERS_BYTES, pageBytes);
  const failures: WriteFailure[] = [];
  const target = new Export({
    name: 'disk',
    image: options.image ?? rawImage(storage, 'disk'),
    cache,
    buffers,
    mode: options.mode ?? 'writeback',
    writeBack: {
      frontswap,
      limitPages,
      buffers: writerBuffers,
      tuning: {
        ageMsMax: 5000,
        highFraction: 0.75,
        lowFraction: 0.5,
        closesGaps: true,
        ...options.tuning,
      },
      onFailure: (failure) => failures.push(failure),
      clock,
    },
  });
  const { writeBack } = target;
  if (writeBack === undefined) throw new Error('it is written back');
  const { tier, writer } = writeBack;
  const memory = { tmem, account, cache, frontswap, buffers, writerBuffers, lender: hot };
  return { ...memory, clock, failures, target, writeBack, tier, writer, table: tier.table };
}

export type WriteBackParts = ReturnType<typeof writeBackOn>;

/** An export of an image in memory, whose bytes are `disk`. */
export function makeWriteBack(options: WriteBackOptions = {}) {
  const disk = noise(options.sizeBytes ?? MIB);
  const storage = new FaultyStorage(new MemoryStorage(disk));
  return { disk, storage, ...writeBackOn(storage, options) };
}

/** Writes as the server does: in the same turn if that can be. Answers whether it could. */
export async function writeAtOnce(
  parts: Pick<WriteBackParts, 'target' | 'buffers'>,
  offset: number,
  data: Buffer,
): Promise<boolean> {
  const taken = parts.target.tryWrite(offset, data.length, data, 0);
  if (taken === false) await write(parts, offset, data);
  else if (taken !== true) await taken;
  return taken === true;
}
