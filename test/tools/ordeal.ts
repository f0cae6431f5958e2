/** What a damaged image goes through: everything that reads or mends one, in bounded work and memory. */

import type { FormatDriver } from '../../src/image/format.ts';
import { BlockImage } from '../../src/image/image.ts';
import { TmemError } from '../../src/lib/errors.ts';
import { countingStorage } from './counting-storage.ts';
import { PASSPHRASE } from './qemu-luks.ts';

/** Bytes that may be read for all of it: small images, but tables of up to 32 MiB may be sparse. */
const BYTES_READ_MAX = 64 << 20;
const REQUESTS_MAX = 100_000;
/** Memory for buffers that all of it may take, garbage included. */
const MEMORY_BYTES_MAX = 64 << 20;
const RANGES = 12;
const RANGE_BYTES = 96 << 10;
/** An image that hides in another is refused here: there is no other. */
const NO_FILE = () => Promise.reject(new TmemError('not-found', 'there is no other file'));

/** What came of it; a crash, or more work than there may be, is thrown. */
export interface Outcome {
  readonly isOpened: boolean;
  /** Undefined where there is no check, or where it refused the image. */
  readonly isClean: boolean | undefined;
}

/** Puts `bytes` through info, check, open, reads and a repair of a copy. Every failure must be a TmemError. */
export async function ordeal(driver: FormatDriver, bytes: Buffer): Promise<Outcome> {
  const { storage, counts } = countingStorage(bytes, true);
  const before = process.memoryUsage().arrayBuffers;
  await refusable(() => driver.info(storage));
  const report = await refusable(() => driver.check?.(storage, { openFile: NO_FILE }));
  const isOpened = (await refusable(() => openAndRead(driver, bytes))) === true;
  const copy = countingStorage(Buffer.from(bytes));
  const repair = { repair: 'all', openFile: NO_FILE } as const;
  await refusable(() => driver.check?.(copy.storage, repair));
  const grownBytes = process.memoryUsage().arrayBuffers - before;
  if (counts.bytesRead > BYTES_READ_MAX || counts.requests > REQUESTS_MAX) {
    throw new Error(`${counts.bytesRead} bytes in ${counts.requests} requests`);
  }
  if (grownBytes > MEMORY_BYTES_MAX) throw new Error(`${grownBytes} bytes of memory`);
  if (report === undefined) return { isOpened, isClean: undefined };
  return { isOpened, isClean: report.corruptions + report.errors + report.leaks === 0 };
}

async function openAndRead(driver: FormatDriver, bytes: Buffer): Promise<boolean> {
  const { storage, counts } = countingStorage(bytes, true);
  const opened = await driver.open(storage, {
    isReadOnly: true,
    tableBytesMax: 1 << 20,
    openFile: NO_FILE,
    passphrase: driver.formatName === 'luks' ? Buffer.from(PASSPHRASE) : undefined,
  });
  const { format } = opened;
  const image = new BlockImage({ name: 'damaged', identity: 'damaged', medium: 'memory', format });
  const buffer = Buffer.alloc(RANGE_BYTES);
  const sizeBytes = image.virtualSizeBytes;
  for (let range = 0; range < RANGES; range++) {
    const offset = Math.floor((sizeBytes / RANGES) * range);
    const length = Math.min(RANGE_BYTES, sizeBytes - offset);
    await refusable(() => image.read(buffer, 0, length, offset));
    if (length > 0) await refusable(() => image.extent(offset, length));
  }
  await image.close();
  if (counts.bytesRead > BYTES_READ_MAX) throw new Error(`${counts.bytesRead} bytes to read some`);
  return true;
}

/** What the call answers; undefined when it refuses with an error that is meant for people. */
async function refusable<T>(call: () => Promise<T> | undefined): Promise<T | undefined> {
  try {
    return await call();
  } catch (cause) {
    if (!(cause instanceof TmemError)) throw cause;
    const { message } = cause;
    // One sentence, and nothing of the image in it that would upset a terminal.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    if (/[\x00-\x1f\x7f]/.test(message) || message.length > 1500)
      throw new Error(`says ${message}`);
    return undefined;
  }
}
