/**
 * CloudPhysics traces of VMware virtual disks (Waldspurger et al., FAST'15), little-endian records.
 * Version 1, 32 bytes: u32 sequence, u32 length in bytes, u32 segments, u16 SCSI command, u16
 * version, u64 block, u64 time in microseconds. Version 2, 40 bytes: u16 command, u16 version, u32
 * sequence, u32 length, u32 segments, u64 block, u64 time, u64 response time. Blocks are 512 bytes;
 * the version is in the high byte of its field.
 */

import {
  type FixedRecordParser,
  FixedScanner,
  readU16,
  readU32,
  readU64,
} from '../binary-format.ts';
import type { FileHead } from '../file-head.ts';
import { LIKENESS, type ParserContext, type TraceFormat } from '../format.ts';
import { OP, type RequestBatch } from '../request-batch.ts';

/** Operations by the SCSI operation code (SBC-3); those of other commands are no requests. */
const OP_BY_COMMAND = new Int8Array(256).fill(-1);
for (const command of [0x08, 0x28, 0xa8, 0x88]) OP_BY_COMMAND[command] = OP.read;
for (const command of [0x0a, 0x2a, 0xaa, 0x8a]) OP_BY_COMMAND[command] = OP.write;
for (const command of [0x41, 0x93]) OP_BY_COMMAND[command] = OP.zero;
for (const command of [0x35, 0x91]) OP_BY_COMMAND[command] = OP.flush;

/** Where the fields of a version are. */
interface Layout {
  readonly recordBytes: number;
  readonly command: number;
  readonly version: number;
  readonly length: number;
  readonly block: number;
  readonly time: number;
  /** -1: there is none. */
  readonly latency: number;
}

const LAYOUTS: Readonly<Record<1 | 2, Layout>> = {
  1: { recordBytes: 32, command: 12, version: 14, length: 4, block: 16, time: 24, latency: -1 },
  2: { recordBytes: 40, command: 0, version: 2, length: 8, block: 16, time: 24, latency: 32 },
};

class VscsiRecords implements FixedRecordParser {
  readonly recordBytes: number;
  readonly headerBytes = 0;
  readonly #layout: Layout;
  readonly #version: number;
  readonly #volume: number;
  readonly #sectorBytes: number;

  constructor(version: 1 | 2, { volumes, volumeName, sectorBytes }: ParserContext) {
    this.#layout = LAYOUTS[version];
    this.recordBytes = this.#layout.recordBytes;
    this.#version = version;
    this.#volume = volumes.ofName(volumeName);
    this.#sectorBytes = sectorBytes;
  }

  parse(bytes: Buffer, at: number, batch: RequestBatch): boolean {
    const layout = this.#layout;
    if (bytes[at + layout.version + 1] !== this.#version) return false;
    const op = OP_BY_COMMAND[readU16(bytes, at + layout.command) & 0xff]!;
    if (op < 0) return true;
    const offset = readU64(bytes, at + layout.block) * this.#sectorBytes;
    if (offset > Number.MAX_SAFE_INTEGER) return false;
    const isFlush = op === OP.flush;
    const length = isFlush ? 0 : readU32(bytes, at + layout.length);
    const latency = layout.latency < 0 ? 0 : readU64(bytes, at + layout.latency);
    const timeUs = readU64(bytes, at + layout.time);
    batch.push(timeUs, isFlush ? 0 : offset, length, this.#volume, op, latency, 0);
    return true;
  }
}

function vscsi(version: 1 | 2): TraceFormat {
  const { recordBytes, command, version: field } = LAYOUTS[version];
  const isRecord = (bytes: Buffer, at: number): boolean =>
    bytes[at + field + 1] === version && readU16(bytes, at + command) < 0x100;
  const likeness = ({ bytes, isText }: FileHead): number => {
    const count = Math.min(16, Math.floor(bytes.length / recordBytes));
    if (isText || count === 0) return LIKENESS.no;
    for (let index = 0; index < count; index++) {
      if (!isRecord(bytes, index * recordBytes)) return LIKENESS.no;
    }
    return count >= 2 ? LIKENESS.certain : LIKENESS.likely;
  };
  return {
    name: `vscsi-v${version}`,
    title: `CloudPhysics vscsi version ${version}`,
    likeness,
    read: () => ({
      ...{ unit: 'bytes', hasClock: true, timeUnit: 'us', recordName: 'record' },
      createParser: (context) => new FixedScanner(new VscsiRecords(version, context), context),
    }),
  };
}

export const vscsiV1 = vscsi(1);
export const vscsiV2 = vscsi(2);
