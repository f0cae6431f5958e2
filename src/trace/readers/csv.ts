/**
 * CSV with named columns: a header line, or `--columns`, says which column is what. Without a header,
 * libCacheSim's usual order counts: time, object, size, operation.
 */

import { LIKENESS, type ParserContext, type TraceFormat } from '../format.ts';
import type { Line } from '../line.ts';
import { NameTable } from '../name-table.ts';
import { OP, type RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, mostFit, TAKEN, TextScanner } from '../text-format.ts';
import { type CsvPlan, isHeader, planCsv, ROLE } from './csv-columns.ts';

const QUOTE = 0x22;
const SPACE = 0x20;
const TAB = 0x09;
const DOT = 0x2e;
const ZERO = 0x30;
const LIBCACHESIM_COLUMNS = ['time_s', 'obj_id', 'obj_size', 'op', 'tenant'];

/** By the word in lower case; numbers are SCSI commands in hexadecimal, or 0 and 1. */
const OP_BY_WORD: readonly (readonly [RegExp, number])[] = [
  [/^(r|rd|read|get|gets|0|28|88|a8|0x28|0x88|0xa8)$/, OP.read],
  [/^(w|wr|write|put|set|update|1|2a|8a|aa|0x2a|0x8a|0xaa)$/, OP.write],
  [/^(t|trim|d|discard|unmap|delete|42|0x42)$/, OP.trim],
  [/^(f|flush|sync|datasync|35|0x35)$/, OP.flush],
  [/^(z|zero|write_?zeroes|write_?same|93|0x93)$/, OP.zero],
];

class CsvLines implements LineParser {
  readonly #plan: CsvPlan;
  readonly #roles: Uint8Array;
  readonly #separator: number;
  readonly #context: ParserContext;
  readonly #defaultVolume: number;
  readonly #offsetUnit: number;
  readonly #lengthUnit: number;
  readonly #words = new NameTable();
  readonly #opByWord: number[] = [];

  constructor(context: ParserContext, plan: CsvPlan) {
    this.#plan = plan;
    this.#context = context;
    this.#roles = Uint8Array.from(plan.roles);
    this.#separator = plan.separator.charCodeAt(0);
    const hasVolumes = plan.roles.includes(ROLE.volume);
    this.#defaultVolume = hasVolumes ? -1 : context.volumes.ofName(context.volumeName);
    this.#offsetUnit = plan.isOffsetInSectors ? context.sectorBytes : 1;
    this.#lengthUnit = plan.isLengthInSectors ? context.sectorBytes : 1;
  }

  parse(line: Line, batch: RequestBatch): number {
    const roles = this.#roles;
    const { bytes } = line;
    const isKeys = this.#plan.unit === 'keys';
    let timeUs = this.#plan.timeUnit === undefined ? this.#context.ordinal.next++ : -1;
    let offset = -1;
    let length = isKeys ? 0 : -1;
    let op: number = OP.read;
    let volume = this.#defaultVolume;
    let latency = 0;
    let content = 0;
    for (let column = 0; column < roles.length; column++) {
      // Nearly always the content begins at once, and the next field behind it.
      if (bytes[line.at]! <= QUOTE) this.#beginField(line);
      switch (roles[column]) {
        case ROLE.none:
          line.skipTo(this.#separator);
          break;
        case ROLE.time:
          timeUs = this.#time(line);
          break;
        case ROLE.offset:
          offset = wholeOf(line, line.unsigned()) * this.#offsetUnit;
          break;
        case ROLE.length:
          length = wholeOf(line, line.unsigned()) * this.#lengthUnit;
          break;
        case ROLE.key:
          offset = wholeOf(line, line.key());
          break;
        case ROLE.op:
          op = this.#op(line);
          break;
        case ROLE.volume:
          volume = this.#volume(line);
          break;
        case ROLE.latency:
          latency = Math.max(line.fixed(0), 0);
          break;
        case ROLE.contentBytes:
          content = Math.max(wholeOf(line, line.unsigned()), 0);
          break;
      }
      // A number in hexadecimal, with an exponent, or a date, is another than its first digits.
      if (bytes[line.at] !== this.#separator && !this.#endsField(line)) return MALFORMED;
      if (line.at < line.end) line.at++;
      else if (column < roles.length - 1) return MALFORMED;
    }
    if (timeUs < 0 || offset < 0 || length < 0 || op < 0 || volume < 0) return MALFORMED;
    if (isKeys) batch.push(timeUs, offset, 1, volume, op, latency, length);
    else batch.push(timeUs, offset, length, volume, op, latency, content);
    return TAKEN;
  }

  #time(line: Line): number {
    switch (this.#plan.timeUnit) {
      case 's':
        return line.fixed(6);
      case 'ms':
        return line.fixed(3);
      case 'ns':
        return longAndFraction(line) ? line.high * 1e6 + line.low / 1000 : -1;
      case '100ns':
        return longAndFraction(line) ? line.high * 1e8 + line.low / 10 : -1;
      default:
        return line.real();
    }
  }

  /** Goes to the first byte of the field's content, past white space and an opening quotation mark. */
  #beginField(line: Line): void {
    this.#blanks(line);
    line.skip(QUOTE);
  }

  /** Goes to the field's end, past a quotation mark and white space; false if there is more. */
  #endsField(line: Line): boolean {
    line.skip(QUOTE);
    this.#blanks(line);
    return line.at === line.end || line.bytes[line.at] === this.#separator;
  }

  #blanks(line: Line): void {
    while (line.skip(SPACE) || (this.#separator !== TAB && line.skip(TAB)));
  }

  /** Goes to the end of the field's word, which is before its quotation mark and spaces. */
  #wordEnd(line: Line): number {
    const { bytes, at: start } = line;
    line.skipTo(this.#separator);
    while (line.at > start && isPadding(bytes[line.at - 1]!)) line.at--;
    return line.at;
  }

  #op(line: Line): number {
    const start = line.at;
    const end = this.#wordEnd(line);
    const word = this.#words.numberOf(line.bytes, start, end);
    if (word === this.#opByWord.length) {
      const text = line.textFrom(start).toLowerCase();
      this.#opByWord.push(OP_BY_WORD.find(([shape]) => shape.test(text))?.[1] ?? -1);
    }
    return this.#opByWord[word] ?? -1;
  }

  #volume(line: Line): number {
    const start = line.at;
    return this.#context.volumes.ofBytes(line.bytes, start, this.#wordEnd(line));
  }
}

function isPadding(byte: number): boolean {
  return byte === SPACE || byte === QUOTE || byte === TAB;
}

/** `value`, which was read; goes past the fraction of zeros with which some programs write it. */
function wholeOf(line: Line, value: number): number {
  if (line.skip(DOT)) while (line.skip(ZERO));
  return value;
}

/** As `long` of the line, without what is behind a point. */
function longAndFraction(line: Line): boolean {
  const isThere = line.long();
  if (!line.skip(DOT)) return isThere;
  const { high, low } = line;
  line.long();
  line.high = high;
  line.low = low;
  return isThere;
}

function csvFormat(
  name: string,
  title: string,
  likeness: TraceFormat['likeness'],
  defaults?: readonly string[],
): TraceFormat {
  return {
    ...{ name, title, likeness },
    read: (head, options) => {
      const plan = planCsv(head, options, defaults);
      return {
        unit: plan.unit,
        hasClock: plan.timeUnit !== undefined,
        timeUnit: plan.timeUnit,
        warnings: plan.warnings,
        createParser: (context) =>
          new TextScanner(new CsvLines(context, plan), context, plan.hasHeader ? /^/ : undefined),
      };
    },
  };
}

export const csv = csvFormat('csv', 'CSV with named columns', ({ isText, lines: [first = ''] }) =>
  isText && isHeader(first) ? LIKENESS.likely : LIKENESS.no,
);

export const libCacheSimCsv = csvFormat(
  'libcachesim-csv',
  'libCacheSim CSV without a header',
  ({ isText, lines }) =>
    isText && mostFit(lines, /^\d+(\.\d+)?,\s*\d+,\s*\d+(,\s*[\w.-]+){0,2}$/)
      ? LIKENESS.possible
      : LIKENESS.no,
  LIBCACHESIM_COLUMNS,
);
