/** Formats of libCacheSim: requests become accesses to objects, of one page each or of any size. */

import { TmemError } from '../../lib/errors.ts';
import { writeUInt64LE } from '../../lib/uint64.ts';
import { LCS_MAGIC } from '../readers/lcs.ts';
import { OP, OP_NAMES, type RequestBatch } from '../request-batch.ts';
import type { Exporter, ExportOptions } from './exporter.ts';
import { fillNextAccess, type NextAccessLayout, type ObjectCounts } from './next-access.ts';
import { OutputBuffer, type OutputFile } from './output-file.ts';

const TWO_32 = 2 ** 32;
const TWO_31 = 2 ** 31;
/** Without pages an object is what begins at a sector. */
const SECTOR_BYTES = 512;
/** One request becomes no more accesses than this. */
const PAGES_PER_REQUEST_MAX = 1 << 22;
/** Pages of a volume take the low 41 bits of an object's name, since offsets have at most 53. */
const VOLUME_HIGH_UNIT = 2 ** 9;

/** libCacheSim's `req_op_e` by our operation. */
const LIBCACHESIM_OP = { read: 12, write: 13, delete: 9 } as const;

/** How a format stores an access. */
interface ObjectLayout extends NextAccessLayout {
  readonly time: number;
  /** u8; -1 where the format has no operations, and takes reads and writes alone. */
  readonly op: number;
  /** Little-endian, of so many bytes; 0: none. */
  readonly tenant: number;
  readonly tenantBytes: number;
  /** The header when everything is known. */
  encodeHeader(totals: ObjectTotals): Buffer;
}

interface ObjectTotals extends ObjectCounts {
  readonly accesses: number;
  readonly accessBytes: number;
}

/** Packed records of 24 bytes, no header. */
export const ORACLE_LAYOUT: ObjectLayout = {
  ...{ headerBytes: 0, recordBytes: 24, time: 0, key: 4, size: 12, next: 16 },
  ...{ op: -1, tenant: 0, tenantBytes: 0 },
  encodeHeader: () => Buffer.alloc(0),
};

function writeTotals(header: Buffer, at: number, totals: ObjectTotals): void {
  const { accesses, objects, accessBytes, objectBytes } = totals;
  for (const [index, value] of [accesses, objects, accessBytes, objectBytes].entries()) {
    writeUInt64LE(header, value, at + index * 8);
  }
}

/** The header of 1,024 bytes that describes its records, up to October 2024. */
function encodeDescribedHeader(totals: ObjectTotals): Buffer {
  const header = Buffer.alloc(1024);
  const description = '<IQIqBI';
  LCS_MAGIC.copy(header);
  header.write(description, 8, 'latin1');
  // Which field is id, size, time, last and next access, op, ttl, tenant, content type.
  Buffer.from([2, 3, 1, 0, 4, 5, 0, 6, 0]).copy(header, 248);
  writeTotals(header, 488, totals);
  header.writeUInt32LE(description.length - 1, 1000);
  header.writeUInt32LE(LCS_LAYOUT.recordBytes, 1004);
  header.writeUInt32LE(1, 1008);
  LCS_MAGIC.copy(header, 1016);
  return header;
}

/** lcs as of October 2024: described records, with operation and tenant. */
export const LCS_LAYOUT: ObjectLayout = {
  ...{ headerBytes: 1024, recordBytes: 29, time: 0, key: 4, size: 12, next: 16 },
  ...{ op: 24, tenant: 25, tenantBytes: 4 },
  encodeHeader: encodeDescribedHeader,
};

/** The header of 8,192 bytes: magic, version, statistics of version 1, magic. */
function encodeVersionedHeader(totals: ObjectTotals): Buffer {
  const header = Buffer.alloc(8192);
  LCS_MAGIC.copy(header);
  header.writeUInt32LE(2, 8);
  header.writeUInt32LE(1, 16);
  writeTotals(header, 24, totals);
  LCS_MAGIC.copy(header, 8184);
  return header;
}

/** lcs as it is now, version 2 of its records. */
export const LCS_V2_LAYOUT: ObjectLayout = {
  ...{ headerBytes: 8192, recordBytes: 28, time: 0, key: 4, size: 12, next: 20 },
  ...{ op: 16, tenant: 17, tenantBytes: 3 },
  encodeHeader: encodeVersionedHeader,
};

/** Writes accesses; when each object comes next is filled in at the end, from the file itself. */
export class ObjectExporter implements Exporter {
  written = 0;
  #accessBytes = 0;
  readonly #file: OutputFile;
  readonly #layout: ObjectLayout;
  readonly #options: ExportOptions;
  readonly #out: OutputBuffer;
  /** Times count from there, microseconds. */
  #zeroUs = Number.NaN;

  constructor(file: OutputFile, layout: ObjectLayout, options: ExportOptions) {
    this.#file = file;
    this.#layout = layout;
    this.#options = options;
    this.#out = new OutputBuffer(file, layout.headerBytes);
  }

  async write(batch: RequestBatch): Promise<void> {
    if (Number.isNaN(this.#zeroUs)) {
      // Seconds as they are, as libCacheSim's own tools do it, where 32 bits hold them.
      const firstUs = batch.timeUs[0] ?? 0;
      this.#zeroUs = firstUs / 1e6 < TWO_31 ? 0 : firstUs;
    }
    for (let index = 0; index < batch.count; index++) {
      const op = batch.op[index]!;
      if (op === OP.flush || (op === OP.trim && this.#layout.op < 0)) continue;
      if (this.#options.unit === 'keys') await this.#writeKey(batch, index);
      else await this.#writeRange(batch, index);
    }
  }

  async finish(): Promise<void> {
    await this.#out.drain();
    const { written, onSecondPass } = { written: this.written, ...this.#options };
    const counts = await fillNextAccess(this.#file, written, this.#layout, (records) =>
      onSecondPass(records / written),
    );
    const totals = { ...counts, accesses: written, accessBytes: this.#accessBytes };
    await this.#file.write(this.#layout.encodeHeader(totals), 0);
  }

  async #writeKey(batch: RequestBatch, index: number): Promise<void> {
    if (this.#out.room < this.#layout.recordBytes) await this.#out.drain();
    const size = batch.contentBytes[index]!;
    this.#put(batch, index, batch.offset[index]!, 0, size === 0 ? 1 : size);
  }

  async #writeRange(batch: RequestBatch, index: number): Promise<void> {
    const { pageBytes } = this.#options;
    const offset = batch.offset[index]!;
    const length = batch.length[index]!;
    const high = batch.volume[index]! * VOLUME_HIGH_UNIT;
    const unit = pageBytes === 0 ? SECTOR_BYTES : pageBytes;
    const first = Math.floor(offset / unit);
    const last = pageBytes === 0 ? first : Math.ceil((offset + length) / unit) - 1;
    if (length === 0) return;
    if (last - first >= PAGES_PER_REQUEST_MAX) refuseLength(batch.op[index]!, last - first + 1);
    for (let object = first; object <= last; object++) {
      if (this.#out.room < this.#layout.recordBytes) await this.#out.drain();
      this.#put(batch, index, object, high, pageBytes === 0 ? length : pageBytes);
    }
  }

  #put(batch: RequestBatch, index: number, object: number, high: number, size: number): void {
    const { time, key, op, tenant, tenantBytes, recordBytes } = this.#layout;
    const { bytes, fill: at } = this.#out;
    const seconds = Math.max(0, Math.floor((batch.timeUs[index]! - this.#zeroUs) / 1e6));
    const sizeBytes = Math.min(size, TWO_32 - 1);
    bytes.writeUInt32LE(Math.min(seconds, TWO_32 - 1), at + time);
    bytes.writeUInt32LE(object % TWO_32, at + key);
    bytes.writeUInt32LE((Math.floor(object / TWO_32) + high) % TWO_32, at + key + 4);
    bytes.writeUInt32LE(sizeBytes, at + this.#layout.size);
    if (op >= 0) bytes[at + op] = opOf(batch.op[index]!);
    if (tenantBytes > 0) {
      bytes.writeUIntLE(batch.volume[index]! % 2 ** (8 * tenantBytes), at + tenant, tenantBytes);
    }
    this.#out.fill += recordBytes;
    this.#accessBytes += sizeBytes;
    this.written++;
  }
}

/** Written page by page, a trim of a whole disk would fill another one. */
function refuseLength(op: number, pages: number): never {
  throw new TmemError(
    'invalid',
    `a ${OP_NAMES[op]} of ${pages} pages is too long to be written page by page; leave such ones ` +
      'out (tmem trace cut --op), or take larger pages (--page)',
  );
}

function opOf(op: number): number {
  if (op === OP.read) return LIBCACHESIM_OP.read;
  return op === OP.trim ? LIBCACHESIM_OP.delete : LIBCACHESIM_OP.write;
}
