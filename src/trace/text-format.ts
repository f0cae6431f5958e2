/** Formats that are text with a request on each line. */

import { byteOrderMarkBytes, type FileHead } from './file-head.ts';
import {
  countMalformed,
  isBeyondReach,
  LIKENESS,
  type ParserContext,
  REQUESTS_PER_RECORD_MAX,
  type Reading,
  type RecordParser,
  type TimeUnit,
  type TraceFormat,
} from './format.ts';
import { Line } from './line.ts';
import { OP, type RequestBatch } from './request-batch.ts';

/** What became of a line. */
export const TAKEN = 0;
/** By design no request: a header, a comment, an event of another kind. */
export const PASSED_OVER = 1;
export const MALFORMED = 2;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** How much of a line is shown. */
const SHOWN_CHARACTERS = 80;
/** The share of the lines of the head that have to fit. */
const SHARE_MIN = 0.9;

const LETTER_R = 0x72;
const LETTER_W = 0x77;

/** The operation whose first letter, R or W in either case, stands at the cursor; -1 for others. */
export function readOrWrite(line: Line): number {
  const letter = line.letter();
  if (letter === LETTER_R) return OP.read;
  return letter === LETTER_W ? OP.write : -1;
}

/** Takes one line apart. */
export interface LineParser {
  /** Adds its requests, `REQUESTS_PER_RECORD_MAX` at most; answers one of the outcomes above. */
  parse(line: Line, batch: RequestBatch): number;
}

function textOf({ bytes, at, end }: Line): string {
  return bytes.toString('latin1', at, Math.min(end, at + SHOWN_CHARACTERS));
}

/** Whether there is nothing but white space in the line, which begins at `start`; goes there. */
function isBlank(line: Line, start: number): boolean {
  line.at = start;
  const isAtEnd = line.isAtEnd();
  line.at = start;
  return isAtEnd;
}

/** Feeds a parser of lines with the lines of a file. */
export class TextScanner implements RecordParser {
  readonly #parser: LineParser;
  readonly #context: ParserContext;
  readonly #header: RegExp | undefined;
  readonly #line = new Line();

  /** A first line that `header` fits is passed over. */
  constructor(parser: LineParser, context: ParserContext, header?: RegExp) {
    this.#parser = parser;
    this.#context = context;
    this.#header = header;
  }

  parse(bytes: Buffer, from: number, to: number, isLast: boolean, batch: RequestBatch): number {
    const line = this.#line;
    const { tally } = this.#context;
    const countMax = batch.capacity - REQUESTS_PER_RECORD_MAX;
    line.bytes = bytes;
    let at = from;
    while (at < to && batch.count <= countMax) {
      let end = at;
      while (end < to && bytes[end] !== LINE_FEED) end++;
      if (end === to && !isLast) break;
      const start = tally.lines === 0 ? at + byteOrderMarkBytes(bytes, at, end) : at;
      line.at = start;
      line.end = end > start && bytes[end - 1] === CARRIAGE_RETURN ? end - 1 : end;
      tally.lines++;
      const isHeader = tally.lines === 1 && this.#header?.test(textOf(line)) === true;
      const { count } = batch;
      if (!isHeader && !this.#takes(line, batch) && !isBlank(line, start)) {
        batch.count = count;
        countMalformed(tally, () => textOf(line));
      }
      at = end + 1;
    }
    return Math.min(at, to);
  }

  /** Whether the line is what it should be; an empty one is nothing. */
  #takes(line: Line, batch: RequestBatch): boolean {
    if (line.at === line.end) return true;
    const { count } = batch;
    return this.#parser.parse(line, batch) !== MALFORMED && !isBeyondReach(batch, count);
  }
}

/** A text format in which everything is fixed. */
export interface TextFormatSpec {
  readonly name: string;
  readonly title: string;
  /** What a line with a request looks like. */
  readonly line: RegExp;
  /** What the first line may look like instead. */
  readonly header?: RegExp;
  /** How sure one can be when the lines fit; `LIKENESS.certain` if left out. */
  readonly likeness?: number;
  /** The share of the lines that has to look so; 0.9 if left out. */
  readonly shareMin?: number;
  /** The file's name when it says as much as the lines do. */
  readonly fileName?: RegExp;
  readonly unit?: 'bytes' | 'keys';
  readonly hasClock?: boolean;
  readonly timeUnit?: TimeUnit;
  /** What to tell the user of a file that looks odd. */
  warningsOf?(head: FileHead): readonly string[];
  createLineParser(context: ParserContext): LineParser;
}

/** Whether at least that share of the lines fits; there must be some. */
export function mostFit(
  lines: readonly string[],
  shape: RegExp,
  shareMin: number = SHARE_MIN,
): boolean {
  const fitting = lines.filter((line) => shape.test(line)).length;
  return fitting > 0 && fitting >= lines.length * shareMin;
}

/** The format that a specification describes. */
export function textFormat(spec: TextFormatSpec): TraceFormat {
  const { name, title, line, header, unit = 'bytes', hasClock = true, timeUnit } = spec;
  return {
    ...{ name, title },
    likeness: ({ isText, lines, name: fileName }) => {
      if (!isText) return LIKENESS.no;
      const rest = header?.test(lines[0] ?? '') ? lines.slice(1) : lines;
      if (!mostFit(rest, line, spec.shareMin)) return LIKENESS.no;
      const isNamed = spec.fileName?.test(fileName) === true;
      return isNamed ? LIKENESS.certain : (spec.likeness ?? LIKENESS.certain);
    },
    read: (head): Reading => ({
      ...{ unit, hasClock, timeUnit },
      warnings: spec.warningsOf?.(head) ?? [],
      createParser: (context) => new TextScanner(spec.createLineParser(context), context, header),
    }),
  };
}
