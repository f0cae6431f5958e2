/**
 * libCacheSim's oracleGeneral: packed little-endian records of 24 bytes, u32 time in seconds, u64
 * object, u32 size, i64 number of the object's next request (from 1; -1 or the largest number: none).
 * Objects from 2^53 are folded to 53 bits.
 */

import { type FixedRecordParser, FixedScanner, readKey, readU32 } from '../binary-format.ts';
import type { FileHead } from '../file-head.ts';
import { LIKENESS, type ParserContext, type TraceFormat } from '../format.ts';
import { OP, type RequestBatch } from '../request-batch.ts';

const RECORD_BYTES = 24;
const NEXT = 16;
const SAMPLE_RECORDS = 512;

class OracleRecords implements FixedRecordParser {
  readonly recordBytes = RECORD_BYTES;
  readonly headerBytes = 0;
  readonly #volume: number;

  constructor({ volumes, volumeName }: ParserContext) {
    this.#volume = volumes.ofName(volumeName);
  }

  parse(bytes: Buffer, at: number, batch: RequestBatch): boolean {
    const key = readKey(bytes, at + 4);
    batch.push(readU32(bytes, at) * 1e6, key, 1, this.#volume, OP.read, 0, readU32(bytes, at + 12));
    return true;
  }
}

/** The next request that record `index` names; 0 for none, -1 for what cannot be. */
function nextOf(bytes: Buffer, index: number): number {
  const next = bytes.readBigInt64LE(index * RECORD_BYTES + NEXT);
  if (next === -1n || next === 0x7fffffffffffffffn) return 0;
  return next > BigInt(index + 1) && next < 1n << 40n ? Number(next) : -1;
}

/** Whether all next requests of a file that says so by its name are numbers of some request. */
function isNamedSo({ bytes, name }: FileHead, count: number): boolean {
  if (!name.includes('oraclegeneral')) return false;
  for (let index = 0; index < count; index++) {
    const next = bytes.readBigInt64LE(index * RECORD_BYTES + NEXT);
    if (next !== 0x7fffffffffffffffn && (next < -1n || next >= 1n << 40n)) return false;
  }
  return true;
}

/** By its name, writers that count from 0, or whose clocks go back, are known as well. */
function likeness(head: FileHead): number {
  const { bytes, isText } = head;
  const count = Math.min(SAMPLE_RECORDS, Math.floor(bytes.length / RECORD_BYTES));
  if (isText || count === 0) return LIKENESS.no;
  const proof = proofOf(bytes, count);
  return proof === LIKENESS.no && isNamedSo(head, count) ? LIKENESS.likely : proof;
}

function proofOf(bytes: Buffer, count: number): number {
  let proofs = 0;
  for (let index = 0; index < count; index++) {
    const at = index * RECORD_BYTES;
    const next = nextOf(bytes, index);
    if (next < 0) return LIKENESS.no;
    if (index > 0 && readU32(bytes, at) < readU32(bytes, at - RECORD_BYTES)) return LIKENESS.no;
    if (next === 0 || next > count) continue;
    const other = (next - 1) * RECORD_BYTES;
    if (bytes.compare(bytes, at + 4, at + 12, other + 4, other + 12) !== 0) return LIKENESS.no;
    proofs++;
  }
  return proofs > 0 || count >= 4 ? LIKENESS.certain : LIKENESS.possible;
}

export const oracleGeneral: TraceFormat = {
  name: 'oracle-general',
  title: 'libCacheSim oracleGeneral',
  likeness,
  read: () => ({
    ...{ unit: 'keys', hasClock: true, timeUnit: 's', recordName: 'record' },
    createParser: (context) => new FixedScanner(new OracleRecords(context), context),
  }),
};
