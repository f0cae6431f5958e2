/** How traces are named and read on a command line, of `tmem trace` and `tmem replay`. */

import { TmemError } from '../../lib/errors.ts';
import { type OpenTraceOptions, TIME_UNITS, type TimeUnit } from '../../trace/format.ts';
import { AUTO } from '../../trace/formats.ts';
import { type OptionTable, type ParsedArguments, parseWhole } from '../command/arguments.ts';
import { type CliContext, fullPath } from '../command/context.ts';

/** What is said of the traces, to every verb. */
export const INPUT_OPTIONS = {
  format: { value: 'NAME', help: `the format of the traces (default: ${AUTO}, told by the file)` },
  columns: {
    value: 'LIST',
    help: 'what is in which column of a CSV file,\nas time_us=1,lba=3,length=4,op=2',
  },
  'time-unit': {
    value: 'UNIT',
    help: `what the times count, if not what is usual: ${Object.keys(TIME_UNITS).join(', ')}`,
  },
  'sector-bytes': {
    value: 'N',
    help: 'what sectors count in formats that have them (default: 512)',
  },
} as const satisfies OptionTable<string>;

const SECTOR_BYTES_MAX = 65_536;

function parseTimeUnit(text: string | undefined): TimeUnit | undefined {
  if (text === undefined) return undefined;
  if (Object.hasOwn(TIME_UNITS, text)) return text as TimeUnit;
  const units = Object.keys(TIME_UNITS).join(', ');
  throw new TmemError('usage', `--time-unit: "${text}" is not a unit; take one of ${units}`);
}

/** How the command line says that traces are to be read. */
export function inputOptions(parsed: ParsedArguments<string>): OpenTraceOptions {
  const sectorBytes = parsed.last('sector-bytes');
  const options = {
    format: parsed.last('format'),
    columns: parsed.last('columns'),
    timeUnit: parseTimeUnit(parsed.last('time-unit')),
  };
  if (sectorBytes === undefined) return options;
  return { ...options, sectorBytes: parseWhole('sector-bytes', sectorBytes, 1, SECTOR_BYTES_MAX) };
}

/** A number, or a percentage as the hundredth part of it; undefined for anything else. */
export function parseShare(text: string): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})(%?)$/.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) / (match[2] === '%' ? 100 : 1);
}

/** The value of `--sample`: a share of the pages above 0 and up to 1. */
export function parseSample(text: string): number {
  const rate = parseShare(text);
  if (rate !== undefined && rate > 0 && rate <= 1) return rate;
  throw new TmemError(
    'usage',
    `--sample: "${text}" is not a share; give one above 0 to 1, as 0.05 or 5%`,
  );
}

/** A trace on the command line, where `-` is the standard input, as a path from the root. */
export function tracePath(path: string, context: CliContext): string {
  return path === '-' ? '/dev/stdin' : fullPath(path, context);
}
