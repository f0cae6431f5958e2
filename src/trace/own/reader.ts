/** Reads our own trace format. */

import { crc32 } from 'node:zlib';
import { TmemError } from '../../lib/errors.ts';
import { readU16, readU32, readU64 } from '../binary-format.ts';
import {
  countMalformed,
  LIKENESS,
  type ParserContext,
  REQUESTS_PER_RECORD_MAX,
  type RecordParser,
  type TraceFormat,
} from '../format.ts';
import { OP_NAMES, type RequestBatch } from '../request-batch.ts';
import {
  BLOCK_BYTES,
  decodeHeader,
  decodeLatency,
  FIELD,
  HEADER_BYTES,
  OWN_MAGIC,
  type OwnHeader,
  RECORD_BYTES,
  RECORDS_PER_BLOCK,
  SPECIAL,
} from './format.ts';

class OwnRecords implements RecordParser {
  readonly #context: ParserContext;
  readonly #header: OwnHeader;
  /** The trace's numbers of volumes by the file's. */
  readonly #volumes: number[] = [];
  #isBehindHeader = false;
  #block = 0;
  /** Records without a checksum, and bytes of blocks without one in which no record is. */
  #uncheckedRecords = 0;
  #unwrittenBytes = 0;

  constructor(context: ParserContext, header: OwnHeader) {
    this.#context = context;
    this.#header = header;
  }

  parse(bytes: Buffer, from: number, to: number, isLast: boolean, batch: RequestBatch): number {
    let at = from;
    if (!this.#isBehindHeader) {
      if (to - at < HEADER_BYTES) return at;
      this.#isBehindHeader = true;
      this.#context.tally.dropped = this.#header.dropped;
      at += HEADER_BYTES;
      for (const [number, name] of this.#header.volumes.entries()) this.#name(number, name);
    }
    const countMax = batch.capacity - REQUESTS_PER_RECORD_MAX;
    while (batch.count <= countMax && at < to) {
      if (to - at < BLOCK_BYTES && !isLast) break;
      const end = Math.min(to, at + BLOCK_BYTES);
      this.#takeBlock(bytes, at, end, batch);
      at = end;
    }
    if (isLast && at === to) {
      this.#refuseRest();
      this.#sayUnchecked();
    }
    return at;
  }

  /** What was written to its end and has lost a part of it since is no recording that broke off. */
  #refuseRest(): void {
    const { lines, malformed, path } = this.#context.tally;
    const { isComplete, requests } = this.#header;
    // How many requests were in a damaged block nobody knows.
    if (!isComplete || malformed > 0 || lines >= requests) return;
    const sentence = `${path} is cut off: ${lines} of its ${requests} requests are there`;
    throw new TmemError('invalid', `${sentence}; get the whole file`);
  }

  #takeBlock(bytes: Buffer, from: number, to: number, batch: RequestBatch): void {
    const { tally } = this.#context;
    const block = this.#block++;
    const count = countRecords(bytes, from, to);
    let end = from + count * RECORD_BYTES;
    const isChecked = end + RECORD_BYTES <= to && bytes[end + FIELD.op] === SPECIAL.check;
    if (isChecked && !isIntact(bytes, from, end, count, block)) {
      tally.lines += count;
      countMalformed(tally, () => `block ${block} fails its checksum`);
      tally.malformed += count - 1;
      return;
    }
    if (!isChecked) {
      end = endOfWritten(bytes, from, end);
      this.#uncheckedRecords += (end - from) / RECORD_BYTES;
      this.#unwrittenBytes += to - end;
    }
    this.#takeRecords(bytes, from, end, batch);
  }

  #sayUnchecked(): void {
    const { path, warnings } = this.#context.tally;
    const [records, bytes] = [this.#uncheckedRecords, this.#unwrittenBytes];
    [this.#uncheckedRecords, this.#unwrittenBytes] = [0, 0];
    if (bytes > 0) {
      const sentence = `${bytes} bytes of ${path} were never written and are left out`;
      warnings.push(`${sentence}; get the whole file if there is one`);
    }
    if (records === 0) return;
    const sentence = `${path} was not ended properly`;
    warnings.push(`${sentence}: ${records} records are not covered by a checksum`);
  }

  #takeRecords(bytes: Buffer, from: number, to: number, batch: RequestBatch): void {
    const { tally } = this.#context;
    for (let at = from; at < to; at += RECORD_BYTES) {
      const op = bytes[at + FIELD.op]!;
      if (op === SPECIAL.lost) {
        // Where the recorder ended as it should, its header has the sum.
        if (!this.#header.isComplete) tally.dropped += readU32(bytes, at + FIELD.length);
      } else if (op === SPECIAL.name) {
        const length = readU32(bytes, at + FIELD.length);
        const start = at + RECORD_BYTES;
        this.#name(
          readU32(bytes, at + FIELD.volume),
          bytes.toString('utf8', start, start + length),
        );
        at += Math.ceil(length / RECORD_BYTES) * RECORD_BYTES;
      } else {
        tally.lines++;
        this.#takeRequest(bytes, at, op, batch);
      }
    }
  }

  #takeRequest(bytes: Buffer, at: number, op: number, batch: RequestBatch): void {
    const number = readU32(bytes, at + FIELD.volume);
    const volume = this.#volumes[number];
    const offset = readU64(bytes, at + FIELD.offset);
    const length = readU32(bytes, at + FIELD.length);
    if (volume === undefined || op >= OP_NAMES.length || offset + length > 2 ** 53) {
      countMalformed(this.#context.tally, () => bytes.toString('hex', at, at + RECORD_BYTES));
      return;
    }
    const timeUs = this.#header.startUs + readU64(bytes, at + FIELD.time);
    const latency = decodeLatency(readU16(bytes, at + FIELD.latency));
    const content = readU32(bytes, at + FIELD.content);
    batch.push(timeUs, offset, length, volume, op, latency, content);
  }

  #name(number: number, name: string): void {
    const { volumes, tally } = this.#context;
    const volume = volumes.ofName(name);
    this.#volumes[number] = volume;
    const { sampleThreshold, isMergedSample } = this.#header;
    if (sampleThreshold > 0 && !isMergedSample) volumes.noteSample(volume, tally.path, number);
  }
}

/** The records before the one that checks them, or all whole ones where there is none. */
function countRecords(bytes: Buffer, from: number, to: number): number {
  const max = Math.min(RECORDS_PER_BLOCK, Math.floor((to - from) / RECORD_BYTES));
  for (let count = 0; count < max; count++) {
    // A name that stands there is none: no UTF-8 has such a byte.
    if (bytes[from + count * RECORD_BYTES + FIELD.op] === SPECIAL.check) return count;
  }
  return max;
}

/** Where of records without a check the last one ends; what was never written is all zeros. */
function endOfWritten(bytes: Buffer, from: number, to: number): number {
  let end = to;
  while (end > from && bytes[end - 1] === 0) end--;
  return from + Math.ceil((end - from) / RECORD_BYTES) * RECORD_BYTES;
}

function isIntact(bytes: Buffer, from: number, end: number, count: number, block: number): boolean {
  return (
    readU32(bytes, end) === crc32(bytes.subarray(from, end)) &&
    readU32(bytes, end + 4) === count &&
    readU64(bytes, end + 8) === block
  );
}

function sampleRateOf(threshold: number): number {
  return threshold === 0 ? 1 : threshold / 2 ** 32;
}

function warningsOf(path: string, { isComplete, sampleThreshold }: OwnHeader): string[] {
  const warnings: string[] = [];
  if (!isComplete) {
    warnings.push(`${path} is still being recorded, or its recorder was stopped half-way`);
  }
  if (sampleThreshold > 0) {
    const share = (sampleRateOf(sampleThreshold) * 100).toPrecision(3);
    warnings.push(`${path} is a sample: ${share} % of the pages, with all their requests`);
  }
  return warnings;
}

export const ownFormat: TraceFormat = {
  name: 'tmem',
  title: 'tmem trace',
  likeness: ({ bytes }) =>
    bytes.subarray(0, OWN_MAGIC.length).equals(OWN_MAGIC) ? LIKENESS.certain : LIKENESS.no,
  read: ({ bytes, path }) => {
    const header = decodeHeader(bytes, path);
    return {
      unit: header.unit,
      hasClock: header.hasClock,
      timeUnit: undefined,
      recordName: 'record',
      sampleRate: sampleRateOf(header.sampleThreshold),
      isMergedSample: header.isMergedSample,
      warnings: warningsOf(path, header),
      createParser: (context) => new OwnRecords(context, header),
    };
  },
};
