/**
 * Zstandard for pieces of a known size (RFC 8878). Frames are walked here, so that what lies behind
 * the last is not looked at and nothing is allocated on a frame's word.
 */

const FRAME_MAGIC = 0xfd2f_b528;
const SKIPPABLE_MAGIC = 0x184d_2a50;
const SKIPPABLE_MASK = 0xffff_fff0;
const LEVEL = 3;
const RLE_BLOCK = 1;
const RESERVED_BLOCK = 3;

type Codec = typeof import('@bokuweb/zstd-wasm');

let loading: Promise<Codec> | undefined;

/** The code is loaded once, when it is first wanted. */
function loaded(): Promise<Codec> {
  loading ??= load();
  return loading;
}

async function load(): Promise<Codec> {
  const codec = await import('@bokuweb/zstd-wasm');
  await codec.init();
  return codec;
}

/** One frame of `source`. */
export async function compressZstd(source: Buffer): Promise<Buffer> {
  const { compress } = await loaded();
  const result = compress(source, LEVEL);
  return Buffer.from(result.buffer, result.byteOffset, result.byteLength);
}

/**
 * Fills `target` with what the frames at the beginning of `source` hold; bytes behind the frame that
 * fills it are not looked at. Rejects with a RangeError or an Error when they hold less or more, or
 * are damaged. Work and memory are bounded by the two lengths.
 */
export async function decompressZstd(source: Buffer, target: Buffer): Promise<void> {
  const { decompress } = await loaded();
  let at = 0;
  let filled = 0;
  while (filled < target.length) {
    const frame = frameAt(source, at);
    at = frame.end;
    if (frame.isSkippable) continue;
    const room = target.length - filled;
    if (frame.contentBytes !== undefined && frame.contentBytes > room) {
      throw new RangeError(`a zstd frame holds ${frame.contentBytes} bytes, and ${room} fit`);
    }
    const bytes = source.subarray(frame.start, frame.end);
    const result = decompress(bytes, { defaultHeapSize: room });
    target.set(result, filled);
    filled += result.length;
  }
}

interface Frame {
  readonly start: number;
  readonly end: number;
  readonly isSkippable: boolean;
  /** As the frame says; undefined when it does not. */
  readonly contentBytes: number | undefined;
}

function frameAt(source: Buffer, start: number): Frame {
  const magic = readNumber(source, start, 4);
  if ((magic & SKIPPABLE_MASK) >>> 0 === SKIPPABLE_MAGIC) {
    const end = start + 8 + readNumber(source, start + 4, 4);
    return { start, end, isSkippable: true, contentBytes: undefined };
  }
  if (magic !== FRAME_MAGIC) throw new RangeError(`no zstd frame begins at byte ${start}`);
  const descriptor = readNumber(source, start + 4, 1);
  const isSingle = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >>> 6] ?? 0;
  const sizeAt = start + 5 + (isSingle ? 0 : 1) + dictionaryBytes;
  const contentBytes = contentSize(source, sizeAt, sizeBytes);
  let at = sizeAt + sizeBytes;
  for (let isLast = false; !isLast; ) {
    const block = readNumber(source, at, 3);
    const type = (block >>> 1) & 3;
    if (type === RESERVED_BLOCK) throw new RangeError(`a zstd block at byte ${at} has no type`);
    isLast = (block & 1) !== 0;
    at += 3 + (type === RLE_BLOCK ? 1 : block >>> 3);
  }
  const hasChecksum = (descriptor & 4) !== 0;
  const end = at + (hasChecksum ? 4 : 0);
  if (end > source.length) throw new RangeError(`the zstd frame at byte ${start} is cut off`);
  return { start, end, isSkippable: false, contentBytes };
}

function contentSize(source: Buffer, at: number, bytes: number): number | undefined {
  if (bytes === 0) return undefined;
  const value = readNumber(source, at, Math.min(bytes, 4));
  if (bytes === 2) return value + 256;
  return bytes === 8 ? value + readNumber(source, at + 4, 4) * 2 ** 32 : value;
}

function readNumber(source: Buffer, at: number, bytes: number): number {
  if (at + bytes > source.length) throw new RangeError(`the zstd data ends at byte ${at}`);
  return source.readUIntLE(at, bytes);
}
