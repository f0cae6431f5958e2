/**
 * Binary files of blktrace(8), one for each processor, in the byte order of the machine that wrote
 * them (linux/blktrace_api.h): u32 magic and version 7, u32 sequence, u64 nanoseconds, u64 sector, u32
 * bytes, u32 action, u32 pid, u32 device, u32 processor, u16 error, u16 length of what follows. Only
 * events of type Q count: further down, requests have been merged and split.
 */

import { refuseTail } from '../binary-format.ts';
import {
  countMalformed,
  isBeyondReach,
  LIKENESS,
  type ParserContext,
  type RecordParser,
  type TraceFormat,
} from '../format.ts';
import { OP, type RequestBatch } from '../request-batch.ts';

const MAGIC = 0x65617400;
const VERSION = 7;
const RECORD_BYTES = 48;
const SECTOR_BYTES = 512;
const TWO_32 = 2 ** 32;

/** In the low half of the action. */
const EVENT_QUEUE = 1;
/** In the high half. */
const CATEGORY = {
  write: 1 << 1,
  flush: 1 << 2,
  commands: 1 << 9,
  notify: 1 << 10,
  discard: 1 << 13,
};

/** The byte order of a record; undefined where there is none. */
function isLittleEndianAt(bytes: Buffer, at: number): boolean | undefined {
  if (bytes.length < at + 4) return undefined;
  if (bytes.readUInt32LE(at) === (MAGIC | VERSION)) return true;
  return bytes.readUInt32BE(at) === (MAGIC | VERSION) ? false : undefined;
}

function opOf(category: number): number {
  if ((category & CATEGORY.discard) !== 0) return OP.trim;
  return (category & CATEGORY.write) !== 0 ? OP.write : OP.read;
}

class BlktraceRecords implements RecordParser {
  readonly #context: ParserContext;
  readonly #isLittle: boolean;
  readonly #volumes = new Map<number, number>();
  /** What follows a record and has not been passed over yet, bytes. */
  #passLeft = 0;

  constructor(context: ParserContext, isLittle: boolean) {
    this.#context = context;
    this.#isLittle = isLittle;
  }

  parse(bytes: Buffer, from: number, to: number, isLast: boolean, batch: RequestBatch): number {
    const { tally } = this.#context;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = from;
    while (batch.count < batch.capacity) {
      const passed = Math.min(this.#passLeft, to - at);
      this.#passLeft -= passed;
      at += passed;
      if (at + RECORD_BYTES > to) break;
      tally.lines++;
      if (view.getUint32(at, this.#isLittle) !== (MAGIC | VERSION)) {
        // The next record may begin anywhere.
        const start = at;
        countMalformed(tally, () => bytes.toString('hex', start, start + RECORD_BYTES));
        this.#passLeft = 1;
        continue;
      }
      this.#passLeft = RECORD_BYTES + view.getUint16(at + 46, this.#isLittle);
      const { count } = batch;
      this.#take(view, at, batch);
      if (!isBeyondReach(batch, count)) continue;
      batch.count = count;
      const start = at;
      countMalformed(tally, () => bytes.toString('hex', start, start + RECORD_BYTES));
    }
    if (!isLast || batch.count === batch.capacity || at === to) return at;
    refuseTail(tally, to - at);
  }

  #take(view: DataView, at: number, batch: RequestBatch): void {
    const isLittle = this.#isLittle;
    const action = view.getUint32(at + 28, isLittle);
    const category = action >>> 16;
    if ((action & 0xffff) !== EVENT_QUEUE) return;
    if ((category & (CATEGORY.notify | CATEGORY.commands)) !== 0) return;
    const length = view.getUint32(at + 24, isLittle);
    const timeNs = this.#u64(view, at + 8);
    const sector = this.#u64(view, at + 16);
    const volume = this.#volumeOf(view.getUint32(at + 36, isLittle));
    if (length > 0) {
      batch.push(timeNs / 1000, sector * SECTOR_BYTES, length, volume, opOf(category), 0, 0);
    } else if ((category & CATEGORY.flush) !== 0) {
      batch.push(timeNs / 1000, 0, 0, volume, OP.flush, 0, 0);
    }
  }

  #u64(view: DataView, at: number): number {
    const high = view.getUint32(at + (this.#isLittle ? 4 : 0), this.#isLittle);
    return high * TWO_32 + view.getUint32(at + (this.#isLittle ? 0 : 4), this.#isLittle);
  }

  /** Twelve bits of major and twenty of minor number, as the kernel has them. */
  #volumeOf(device: number): number {
    let volume = this.#volumes.get(device);
    if (volume === undefined) {
      const name = Buffer.from(`${device >>> 20},${device & 0xfffff}`);
      volume = this.#context.volumes.ofBytes(name, 0, name.length);
      this.#volumes.set(device, volume);
    }
    return volume;
  }
}

export const blktrace: TraceFormat = {
  name: 'blktrace',
  title: 'blktrace binary',
  likeness: ({ bytes }) =>
    isLittleEndianAt(bytes, 0) === undefined ? LIKENESS.no : LIKENESS.certain,
  read: ({ bytes }) => ({
    ...{ unit: 'bytes', hasClock: true, timeUnit: undefined, recordName: 'record' },
    createParser: (context) => new BlktraceRecords(context, isLittleEndianAt(bytes, 0) ?? true),
  }),
};
