/** The `cow` format: opening, making, looking at and checking images beside a base. */

import { TmemError } from '../../lib/errors.ts';
import { formatSize, parseSize } from '../../lib/sizes.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type {
  CheckFinding,
  CheckOptions,
  CheckReport,
  CreateOptions,
  FormatDriver,
  ImageInfo,
  ImageReference,
  OpenedFormat,
  OpenOptions,
} from '../format.ts';
import { checkPinned } from '../tables/pinned.ts';
import { readPadded } from '../tables/read-padded.ts';
import { BlockBitmap } from './bitmap.ts';
import { CowDisk } from './disk.ts';
import {
  BITMAP_BYTES_MAX,
  BLOCK_BITS_MAX,
  BLOCK_BITS_MIN,
  type CowHeader,
  decodeHeaders,
  encodeHeader,
  HEADER_BYTES,
  HEADER_COUNT,
  layoutOf,
  NAME_BYTES_MAX,
} from './header.ts';

const BLOCK_BYTES_DEFAULT = 64 * 1024;

export const cowDriver: FormatDriver = { formatName: 'cow', open, info, create, rebase, check };

async function open(storage: ResizableStorage, options: OpenOptions): Promise<OpenedFormat> {
  if (options.snapshot !== undefined) {
    throw new TmemError('usage', `"${storage.name}" is a cow image and has no internal snapshots`);
  }
  const header = await readHeader(storage);
  checkPinned(storage.name, header.bitmapBytes, options);
  const bitmap = await readBitmap(storage, header);
  checkLength(storage, header);
  const format = new CowDisk({ storage, header, bitmap });
  return { format, backing: header.isLinear ? undefined : referenceOf(header) };
}

async function info(storage: ResizableStorage): Promise<ImageInfo> {
  const header = await readHeader(storage);
  return {
    formatName: 'cow',
    virtualSizeBytes: header.virtualSizeBytes,
    unitBytes: header.blockBytes,
    backing: header.isLinear ? undefined : referenceOf(header),
    references: [],
    isEncrypted: false,
    isDirty: false,
    isCorrupt: false,
    snapshots: [],
    details: { linear: header.isLinear, generation: header.generation },
  };
}

async function create(storage: ResizableStorage, options: CreateOptions): Promise<void> {
  const { sizeBytes, backing, settings } = options;
  const blockBytes = blockBytesOf(settings, sizeBytes);
  const layout = layoutOf(sizeBytes, blockBytes);
  if (backing !== undefined) checkName(backing.name);
  const header: CowHeader = {
    ...layout,
    blockBytes,
    virtualSizeBytes: sizeBytes,
    generation: 1,
    isLinear: false,
    base: backing && baseOf(backing),
  };
  // As long as the disk, so that where a block goes is there from the beginning.
  await storage.resize(layout.dataOffset + sizeBytes);
  const place = (header.generation % HEADER_COUNT) * HEADER_BYTES;
  await storage.write(encodeHeader(header), 0, HEADER_BYTES, place);
  await storage.sync();
}

/** Writes what the image stands on into the older of the two headers, as a write of the other is. */
async function rebase(storage: ResizableStorage, backing: ImageReference): Promise<void> {
  const header = await readHeader(storage);
  const { name, formatName, stamp } = backing;
  if (formatName === undefined) throw formatWanted();
  checkName(name);
  const generation = header.generation + 1;
  const base = { name, formatName, stamp };
  const changed: CowHeader = { ...header, generation, isLinear: false, base };
  const place = (generation % HEADER_COUNT) * HEADER_BYTES;
  await storage.write(encodeHeader(changed), 0, HEADER_BYTES, place);
  await storage.sync();
}

async function check(storage: ResizableStorage, options: CheckOptions): Promise<CheckReport> {
  const findings: CheckFinding[] = [];
  const corruption = (message: string) => {
    findings.push({ kind: 'corruption', message, isRepaired: false });
  };
  const header = await readHeader(storage);
  const bitmap = await readBitmap(storage, header);
  const { dataOffset, virtualSizeBytes } = header;
  if (storage.sizeBytes < dataOffset + virtualSizeBytes) {
    corruption(`the file ends at ${storage.sizeBytes}, within its data`);
  }
  options.onProgress?.(1, 1);
  return {
    formatName: 'cow',
    corruptions: findings.length,
    leaks: 0,
    errors: 0,
    corruptionsFixed: 0,
    leaksFixed: 0,
    totalUnits: bitmap.blockCount,
    allocatedUnits: bitmap.setCount,
    compressedUnits: 0,
    fragmentedUnits: 0,
    imageEndOffset: dataOffset + virtualSizeBytes,
    findings,
  };
}

async function readHeader(storage: ResizableStorage): Promise<CowHeader> {
  const bytes = Buffer.alloc(Math.min(HEADER_BYTES * HEADER_COUNT, storage.sizeBytes));
  await storage.read(bytes, 0, bytes.length, 0);
  return decodeHeaders(bytes, storage.name);
}

async function readBitmap(storage: ResizableStorage, header: CowHeader): Promise<BlockBitmap> {
  const { bitmapBytes, bitmapOffset, virtualSizeBytes, blockBytes } = header;
  if (storage.sizeBytes < bitmapOffset + bitmapBytes) {
    throw new TmemError(
      'invalid',
      `"${storage.name}" is cut off at ${storage.sizeBytes}, within the bitmap at ${bitmapOffset}: ` +
        'restore it from a copy',
      { context: { image: storage.name, offset: bitmapOffset } },
    );
  }
  const bits = Buffer.alloc(bitmapBytes);
  await readPadded(storage, bits, 0, bitmapBytes, bitmapOffset);
  return new BlockBitmap(bits, layoutOf(virtualSizeBytes, blockBytes).blockCount);
}

function checkLength(storage: ResizableStorage, header: CowHeader): void {
  const end = header.dataOffset + header.virtualSizeBytes;
  if (storage.sizeBytes >= end) return;
  throw new TmemError(
    'invalid',
    `"${storage.name}" is cut off at ${storage.sizeBytes}, its data go to ${end}: restore it from a copy`,
    { context: { image: storage.name, offset: storage.sizeBytes } },
  );
}

function referenceOf({ base }: CowHeader): ImageReference | undefined {
  if (base === undefined) return undefined;
  const { name, formatName, stamp } = base;
  return { role: 'backing file', name, formatName, stamp };
}

function baseOf({ name, formatName, stamp }: ImageReference): CowHeader['base'] {
  if (formatName === undefined || stamp === undefined) throw formatWanted();
  return { name, formatName, stamp };
}

/** The block size that is asked for, or the smallest usual one whose bitmap can be held in memory. */
function blockBytesOf(settings: CreateOptions['settings'], sizeBytes: number): number {
  const { block_size: asked, ...rest } = settings;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    throw new TmemError('usage', `a cow image has no setting "${unknown}"; it has block_size`);
  }
  if (sizeBytes < 512 || sizeBytes % 512 !== 0) {
    throw new TmemError(
      'usage',
      `a cow image of ${sizeBytes} bytes cannot be; choose a multiple of 512`,
    );
  }
  let blockBytes = asked === undefined ? BLOCK_BYTES_DEFAULT : parseSize(asked);
  const bits = Math.log2(blockBytes);
  if (!(Number.isInteger(bits) && bits >= BLOCK_BITS_MIN && bits <= BLOCK_BITS_MAX)) {
    throw new TmemError(
      'usage',
      `block_size is ${asked}; it must be a power of two from 512 to 2MiB`,
    );
  }
  const isTooLarge = () => layoutOf(sizeBytes, blockBytes).bitmapBytes > BITMAP_BYTES_MAX;
  if (asked === undefined) while (isTooLarge() && blockBytes < 2 ** BLOCK_BITS_MAX) blockBytes *= 2;
  if (!isTooLarge()) return blockBytes;
  const what = `a cow image of ${formatSize(sizeBytes)} with blocks of ${formatSize(blockBytes)}`;
  const isLargest = blockBytes === 2 ** BLOCK_BITS_MAX;
  const advice = isLargest ? 'choose another format' : 'choose larger blocks';
  throw new TmemError('usage', `${what} has too large a bitmap; ${advice}`);
}

function checkName(name: string): void {
  if (Buffer.byteLength(name) <= NAME_BYTES_MAX) return;
  throw new TmemError('usage', `the name of a base has at most ${NAME_BYTES_MAX} bytes`);
}

function formatWanted(): TmemError {
  return new TmemError('usage', 'a cow image must know the format of its base; give it');
}
