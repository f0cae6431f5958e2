/** An overflow storage on a medium in memory that a test can look into and trouble. */

import { loadCodec } from '../../src/layers/codec.ts';
import { defaultFileBytes } from '../../src/swap/geometry.ts';
import { OverflowStorage } from '../../src/swap/overflow-storage.ts';
import { FaultyStorage } from '../storage/faulty-storage.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';
import { type PageKind, pageOf } from '../tmem/page-content.ts';

export const PAGE_BYTES = 4096;

const codec = loadCodec();

export interface Fixture {
  readonly storage: OverflowStorage;
  readonly medium: FaultyStorage;
  /** The bytes of the file. */
  readonly file: Buffer;
  /** Writes one page of that kind and version. */
  write(page: number, kind: PageKind, version: number): Promise<void>;
  read(page: number): Promise<Buffer>;
}

/** Opens one; by default the file has room for all pages, whatever they are. */
export function openFixture(
  sizeBytes: number,
  fileBytesMax = defaultFileBytes(sizeBytes, PAGE_BYTES),
): Fixture {
  const file = Buffer.alloc(fileBytesMax);
  const medium = new FaultyStorage(new MemoryStorage(file, { name: 'overflow' }));
  const deviceId = Buffer.alloc(16, 7);
  const parts = { name: 'swap0', sizeBytes, pageBytes: PAGE_BYTES, codec };
  const storage = new OverflowStorage({ ...parts, medium, fileBytesMax, deviceId });
  return {
    storage,
    medium,
    file,
    write: (page, kind, version) =>
      storage.write(pageOf(PAGE_BYTES, kind, version), 0, PAGE_BYTES, page * PAGE_BYTES),
    read: async (page) => {
      const bytes = Buffer.alloc(PAGE_BYTES, 0xee);
      await storage.read(bytes, 0, PAGE_BYTES, page * PAGE_BYTES);
      return bytes;
    },
  };
}

/** As few segments as there may be: 16, of 64 KiB. */
export const SMALL_FILE_BYTES = 4096 + 16 * 65536;
/** Numbers in no order, the same in every run. */
export function* shuffled(count: number): Generator<number> {
  for (let x = 1; ; ) {
    x = (x * 1103515245 + 12345) % 2147483648;
    yield Math.floor((x / 2147483648) * count);
  }
}
