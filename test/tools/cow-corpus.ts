/** A small copy-on-write image, and where the numbers in it are. */

import { crc32 } from 'node:zlib';
import { cowDriver } from '../../src/image/cow/driver.ts';
import { HEADER_BYTES, HEADER_COUNT, layoutOf } from '../../src/image/cow/header.ts';
import type { ImageReference } from '../../src/image/format.ts';
import { BlockImage } from '../../src/image/image.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';
import type { CorpusImage } from './image-mutator.ts';

const SIZE = 2 << 20;
const BLOCK_BYTES = 4096;
const CRC_AT = HEADER_BYTES - 4;

/** With its checksums, and with those that are made right after each damage. */
export async function makeCowCorpus(): Promise<CorpusImage[]> {
  const bytes = await makeCow();
  const { bitmapOffset, bitmapBytes } = layoutOf(SIZE, BLOCK_BYTES);
  const regions: CorpusImage['regions'] = [
    ...Array.from({ length: HEADER_COUNT }, (_, index) => index * HEADER_BYTES).flatMap((at) => [
      { name: 'header', offset: at + 8, length: 16, wordBytes: 4 as const },
      { name: 'header', offset: at + 24, length: 56, wordBytes: 8 as const },
      { name: 'lengths of names', offset: at + 80, length: 8, wordBytes: 4 as const },
      { name: 'names', offset: at + 88, length: 64, wordBytes: 1 as const },
    ]),
    { name: 'bitmap', offset: bitmapOffset, length: bitmapBytes, wordBytes: 8 },
  ];
  const image = { bytes, regions, isLittleEndian: true };
  return [
    { name: 'cow', ...image },
    { name: 'cow with good checksums', ...image, seal },
  ];
}

/** Both headers are valid, and some blocks are there. */
async function makeCow(): Promise<Buffer> {
  const storage = new MemoryStorage(Buffer.alloc(0), { name: 'corpus.cow' });
  const backing: ImageReference = {
    ...{ role: 'backing file', name: 'base.raw', formatName: 'raw' },
    stamp: { sizeBytes: SIZE, changedAtMs: 1_700_000_000_123 },
  };
  const openFile = () => Promise.reject(new Error('one file is enough'));
  const settings = { block_size: `${BLOCK_BYTES}` };
  await cowDriver.create?.(storage, { sizeBytes: SIZE, settings, backing, createFile: openFile });
  await cowDriver.rebase?.(storage, { ...backing, name: 'other.raw' });
  const options = { isReadOnly: false, tableBytesMax: 1 << 20, openFile };
  const { format } = await cowDriver.open(storage, options);
  const image = new BlockImage({ name: 'cow', identity: 'cow', medium: 'memory', format });
  for (const at of [0, 100 << 10, 512 << 10]) {
    await image.write(Buffer.alloc(32_768, 7), 0, 32_768, at);
  }
  await image.sync();
  const bytes = Buffer.alloc(storage.sizeBytes);
  await storage.read(bytes, 0, bytes.length, 0);
  return bytes;
}

function seal(bytes: Buffer): void {
  for (let index = 0; index < HEADER_COUNT; index++) {
    const header = bytes.subarray(index * HEADER_BYTES, (index + 1) * HEADER_BYTES);
    if (header.length < HEADER_BYTES) return;
    header.writeUInt32LE(crc32(header.subarray(0, CRC_AT)), CRC_AT);
  }
}
