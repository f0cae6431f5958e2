/**
 * libCacheSim's lcs (its `traceReader`, `lcs.h`). Up to October 2024: a header of 1,024 bytes that
 * describes the records like Python's struct does. Later: a header of 8,192 bytes (1,024 at first)
 * with a version from 1 to 8 that says what the records are.
 */

import { TmemError } from '../../lib/errors.ts';
import {
  type FixedRecordParser,
  FixedScanner,
  readKey,
  readU32,
  readU64,
} from '../binary-format.ts';
import type { FileHead } from '../file-head.ts';
import { LIKENESS, type ParserContext, type TraceFormat } from '../format.ts';
import { OP, type RequestBatch } from '../request-batch.ts';

/** 0x123456789abcdef0, at the start and at the end of the header. */
export const LCS_MAGIC = Buffer.from('f0debc9a78563412', 'hex');
const HEADER_BYTES = [1024, 8192] as const;
const FORMAT_AT = 8;
const FORMAT_BYTES = 240;
const FIELDS_AT = FORMAT_AT + FORMAT_BYTES;
const VERSION_MAX = 8;

const BYTES_BY_LETTER: Readonly<Record<string, number>> = {
  ...{ c: 1, b: 1, B: 1, h: 2, H: 2, i: 4, I: 4, l: 4, L: 4, q: 8, Q: 8, f: 4, d: 8 },
};

/** Operations by libCacheSim's `req_op_e`; the others (gets, sets of caches) count as reads. */
const OP_BY_NUMBER: ReadonlyMap<number, number> = new Map([
  [3, OP.write],
  [4, OP.write],
  [5, OP.write],
  [6, OP.write],
  [9, OP.trim],
  [13, OP.write],
  [14, OP.write],
]);

/** A field's place in a record and its size; size 0: there is none. */
interface Field {
  readonly at: number;
  readonly bytes: number;
  /** A float or a double, of which libCacheSim takes the whole part. */
  readonly isReal?: boolean;
}

interface Layout {
  readonly headerBytes: number;
  readonly recordBytes: number;
  readonly time: Field;
  readonly key: Field;
  readonly size: Field;
  readonly op: Field;
  readonly tenant: Field;
}

const NONE: Field = { at: 0, bytes: 0 };

/** The records that versions 1 to 8 have; from 4 on, features stand behind those of version 3. */
function layoutOfVersion(version: number, headerBytes: number): Layout {
  const sizeBytes = version < 3 ? 4 : 8;
  const op = { at: 12 + sizeBytes, bytes: 1 };
  const recordBytes = version < 4 ? ([24, 28, 36][version - 1] ?? 0) : 36 + 4 * 2 ** (version - 4);
  return {
    ...{ headerBytes, recordBytes },
    time: { at: 0, bytes: 4 },
    key: { at: 4, bytes: 8 },
    size: { at: 12, bytes: sizeBytes },
    op: version === 1 ? NONE : op,
    tenant: version === 1 ? NONE : { at: op.at + 1, bytes: 3 },
  };
}

/** The records that a description such as `<IQIq` means. */
function layoutOfFormat(header: Buffer, path: string): Layout {
  const text = header.toString('latin1', FORMAT_AT, FORMAT_AT + FORMAT_BYTES);
  const letters = text.slice(1, text.indexOf('\0'));
  const places: Field[] = [];
  let recordBytes = 0;
  for (const letter of letters) {
    const bytes = BYTES_BY_LETTER[letter] ?? 0;
    if (bytes === 0) throw unknownLayout(path, `a field of type ${letter}`);
    places.push({ at: recordBytes, bytes, isReal: letter === 'f' || letter === 'd' });
    recordBytes += bytes;
  }
  // Fields are numbered from 1 in the order id, size, time, two for virtual times, op, ttl, tenant.
  const field = (index: number): Field => places[(header[FIELDS_AT + index] ?? 0) - 1] ?? NONE;
  const key = field(0);
  if (key.bytes === 0) throw unknownLayout(path, 'no field for the object');
  return {
    ...{ headerBytes: 1024, recordBytes, key },
    ...{ size: field(1), time: field(2), op: field(5), tenant: field(7) },
  };
}

function unknownLayout(path: string, what: string): TmemError {
  return new TmemError('unsupported', `${path} is an lcs trace with ${what}, which is not known`);
}

function layoutOf({ bytes, path }: FileHead): Layout {
  const headerBytes = headerBytesOf(bytes);
  if (headerBytes === 0) throw unknownLayout(path, 'a header without an end');
  if (bytes[FORMAT_AT] === 0x3c) return layoutOfFormat(bytes, path);
  const version = readU64(bytes, FORMAT_AT);
  if (version < 1 || version > VERSION_MAX) throw unknownLayout(path, `version ${version}`);
  return layoutOfVersion(version, headerBytes);
}

function headerBytesOf(bytes: Buffer): number {
  return HEADER_BYTES.find((end) => bytes.subarray(end - 8, end).equals(LCS_MAGIC)) ?? 0;
}

class LcsRecords implements FixedRecordParser {
  readonly recordBytes: number;
  readonly headerBytes: number;
  readonly #layout: Layout;
  readonly #context: ParserContext;
  readonly #volumes: Map<number, number> = new Map();

  constructor(layout: Layout, context: ParserContext) {
    this.recordBytes = layout.recordBytes;
    this.headerBytes = layout.headerBytes;
    this.#layout = layout;
    this.#context = context;
  }

  parse(bytes: Buffer, at: number, batch: RequestBatch): boolean {
    const { time, key, size, op, tenant } = this.#layout;
    const isLong = key.bytes === 8 && key.isReal !== true;
    const object = isLong ? readKey(bytes, at + key.at) : read(bytes, at, key);
    const opNumber = op.bytes === 0 ? OP.read : (OP_BY_NUMBER.get(read(bytes, at, op)) ?? OP.read);
    const volume = this.#volumeOf(read(bytes, at, tenant));
    const sizeBytes = read(bytes, at, size);
    const seconds = read(bytes, at, time);
    batch.push(seconds * 1e6, object, 1, volume, opNumber, 0, sizeBytes);
    return volume >= 0 && seconds >= 0 && object >= 0 && sizeBytes >= 0;
  }

  /** Tenant 0 is what traces without tenants have. */
  #volumeOf(tenant: number): number {
    let volume = this.#volumes.get(tenant);
    if (volume === undefined) {
      const { volumes, volumeName } = this.#context;
      volume = volumes.ofName(tenant === 0 ? volumeName : `tenant-${tenant}`);
      this.#volumes.set(tenant, volume);
    }
    return volume;
  }
}

function read(bytes: Buffer, record: number, { at, bytes: size, isReal }: Field): number {
  if (isReal === true) {
    return Math.trunc(
      size === 8 ? bytes.readDoubleLE(record + at) : bytes.readFloatLE(record + at),
    );
  }
  if (size === 8) return readU64(bytes, record + at);
  if (size === 4) return readU32(bytes, record + at);
  let value = 0;
  for (let byte = size - 1; byte >= 0; byte--) value = value * 256 + bytes[record + at + byte]!;
  return value;
}

export const lcs: TraceFormat = {
  name: 'lcs',
  title: 'libCacheSim lcs',
  likeness: ({ bytes }) =>
    bytes.subarray(0, 8).equals(LCS_MAGIC) && headerBytesOf(bytes) > 0
      ? LIKENESS.certain
      : LIKENESS.no,
  read: (head) => {
    const layout = layoutOf(head);
    return {
      ...{ unit: 'keys', hasClock: layout.time.bytes > 0, timeUnit: 's', recordName: 'record' },
      createParser: (context) => new FixedScanner(new LcsRecords(layout, context), context),
    };
  },
};
