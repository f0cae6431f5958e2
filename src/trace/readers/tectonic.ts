/**
 * Meta's block storage (Tectonic) traces as CacheLib publishes them: CSV with named columns, of which
 * `block_id`, `op_name`, `io_offset` and `io_size` are needed. An operation counts `op_count` times in
 * its second. Blocks, told apart by `block_id` and `rs_shard_id`, lie beside each other on one volume,
 * 64 MiB apart, in the order of their first use.
 */

import { TmemError } from '../../lib/errors.ts';
import {
  LIKENESS,
  type ParserContext,
  REQUESTS_PER_RECORD_MAX,
  type TraceFormat,
} from '../format.ts';
import { COMMA, type Line } from '../line.ts';
import { NameTable } from '../name-table.ts';
import { OP, type RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, TAKEN, TextScanner } from '../text-format.ts';

/** More than any block has; the published ones have 40 MB. */
const BLOCK_BYTES = 64 * 1024 * 1024;
const LETTER_G = 0x67;
const LETTER_P = 0x70;

/** Where the columns are, from 0; -1 for one that is not there. */
interface Columns {
  readonly time: number;
  readonly block: number;
  readonly shard: number;
  readonly op: number;
  readonly count: number;
  readonly offset: number;
  readonly size: number;
}

function columnsOf(header: string, path: string): Columns {
  const names = header.toLowerCase().split(',');
  const find = (name: string): number => names.indexOf(name);
  const columns = {
    time: find('op_time'),
    block: find('block_id'),
    shard: find('rs_shard_id'),
    op: find('op_name'),
    count: find('op_count'),
    offset: find('io_offset'),
    size: find('io_size'),
  };
  const { block, op, offset, size } = columns;
  if (Math.min(block, op, offset, size) >= 0) return columns;
  const sentence = 'has no header line with block_id, op_name, io_offset and io_size';
  throw new TmemError('invalid', `${path} ${sentence}; give another --format`);
}

class TectonicLines implements LineParser {
  readonly #context: ParserContext;
  readonly #columns: Columns;
  readonly #blocks = new NameTable();
  readonly #volume: number;
  readonly #name = Buffer.alloc(256);

  constructor(context: ParserContext, columns: Columns) {
    this.#context = context;
    this.#columns = columns;
    this.#volume = context.volumes.ofName(context.volumeName);
  }

  parse(line: Line, batch: RequestBatch): number {
    const columns = this.#columns;
    let timeUs = columns.time < 0 ? this.#context.ordinal.next++ : -1;
    let op = -1;
    let count = 1;
    let offset = -1;
    let size = -1;
    let nameLength = 0;
    for (let column = 0; line.at < line.end; column++) {
      if (column === columns.time) timeUs = line.fixed(6);
      else if (column === columns.count) count = line.unsigned();
      else if (column === columns.offset) offset = line.unsigned();
      else if (column === columns.size) size = line.unsigned();
      else if (column === columns.op) op = opOf(line.letter());
      else if (column === columns.block || column === columns.shard) {
        nameLength = this.#addToName(line, nameLength);
        if (nameLength < 0) return MALFORMED;
      }
      line.skipPast(COMMA);
    }
    const isWhole = offset >= 0 && size >= 0 && offset + size <= BLOCK_BYTES && nameLength > 0;
    if (!isWhole || op < 0 || timeUs < 0 || count < 1 || count > REQUESTS_PER_RECORD_MAX) {
      return MALFORMED;
    }
    const block = this.#blocks.numberOf(this.#name, 0, nameLength);
    if (block < 0) return MALFORMED;
    const start = block * BLOCK_BYTES + offset;
    for (let time = 0; time < count; time++)
      batch.push(timeUs, start, size, this.#volume, op, 0, 0);
    return TAKEN;
  }

  /** Adds the field at the cursor to the block's name; -1 if it is too long. */
  #addToName(line: Line, length: number): number {
    const start = line.at;
    line.skipTo(COMMA);
    if (length + line.at - start + 1 > this.#name.length) return -1;
    const end = length + line.bytes.copy(this.#name, length, start, line.at);
    this.#name[end] = COMMA;
    return end + 1;
  }
}

/** `getChunkData…` reads, `putChunk…` writes. */
function opOf(letter: number): number {
  if (letter === LETTER_G) return OP.read;
  return letter === LETTER_P ? OP.write : -1;
}

export const tectonic: TraceFormat = {
  name: 'tectonic',
  title: 'Meta Tectonic block',
  likeness: ({ isText, lines: [first = ''] }) =>
    isText && /\bblock_id\b/i.test(first) && /\bio_offset\b/i.test(first) && first.includes(',')
      ? LIKENESS.certain
      : LIKENESS.no,
  read: ({ lines: [first = ''], path }) => {
    const columns = columnsOf(first, path);
    return {
      ...{ unit: 'bytes', hasClock: columns.time >= 0, timeUnit: 's' },
      createParser: (context) =>
        new TextScanner(new TectonicLines(context, columns), context, /\bblock_id\b/i),
    };
  },
};
