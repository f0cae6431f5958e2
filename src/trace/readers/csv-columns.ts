/** Which column of a CSV trace is what, told by its name. */

import { TmemError } from '../../lib/errors.ts';
import type { FileHead } from '../file-head.ts';
import { type FormatOptions, TIME_UNITS, type TimeUnit } from '../format.ts';

/** What a column can hold. */
export const ROLE = {
  none: 0,
  time: 1,
  offset: 2,
  length: 3,
  op: 4,
  volume: 5,
  key: 6,
  latency: 7,
  contentBytes: 8,
} as const;

interface Meaning {
  readonly role: number;
  /** The column counts sectors, not bytes. */
  readonly isInSectors?: boolean;
  readonly timeUnit?: TimeUnit;
}

const MEANINGS: readonly (readonly [RegExp, Meaning])[] = [
  [/^(offset|byte_?offset|offset_bytes|address|position|io_offset)$/, { role: ROLE.offset }],
  [
    /^(lba|lbn|sector|block|start_?sector|start_?block|offset_sectors)$/,
    { role: ROLE.offset, isInSectors: true },
  ],
  [
    /^(length|len|size|bytes|io_?size|length_bytes|size_bytes|request_?size|obj_?size|object_?size)$/,
    { role: ROLE.length },
  ],
  [
    /^(sectors|blocks|n_?sectors|n_?blocks|nr_sectors|size_sectors|length_sectors)$/,
    { role: ROLE.length, isInSectors: true },
  ],
  [/^(op|operation|type|io_?type|op_?code|rw|cmd|command)$/, { role: ROLE.op }],
  [
    /^(volume|volume_?id|vol|disk|disk_?number|device|device_?id|dev|lun|asu|tenant)$/,
    { role: ROLE.volume },
  ],
  [/^(key|id|obj_?id|object|object_?id)$/, { role: ROLE.key }],
  [/^latency_?us$/, { role: ROLE.latency }],
  [/^content_?bytes$/, { role: ROLE.contentBytes }],
];

const TIME_NAME = /^(?:time|timestamp|ts|clock_?time)_?(s|sec|seconds|ms|us|ns|100ns)?$/;
const UNIT_BY_SUFFIX: Readonly<Record<string, TimeUnit>> = {
  ...{ s: 's', sec: 's', seconds: 's', ms: 'ms', us: 'us', ns: 'ns', '100ns': '100ns' },
};

function meaningOf(name: string): Meaning | undefined {
  const clean = name.trim().replaceAll('"', '').toLowerCase().replaceAll(/[ -]/g, '_');
  const time = TIME_NAME.exec(clean);
  if (time !== null) {
    const timeUnit = UNIT_BY_SUFFIX[time[1] ?? ''];
    return { role: ROLE.time, ...(timeUnit !== undefined && { timeUnit }) };
  }
  return MEANINGS.find(([shape]) => shape.test(clean))?.[1];
}

/** What a parser of CSV has to know. */
export interface CsvPlan {
  /** One character. */
  readonly separator: string;
  /** The role of each column. */
  readonly roles: readonly number[];
  readonly isOffsetInSectors: boolean;
  readonly isLengthInSectors: boolean;
  /** Undefined where there are no times. */
  readonly timeUnit: TimeUnit | undefined;
  readonly unit: 'bytes' | 'keys';
  readonly hasHeader: boolean;
  readonly warnings: readonly string[];
}

function separatorOf(line: string): string {
  const counts = [',', ';', '\t'].map((one) => ({ one, count: line.split(one).length }));
  return counts.reduce((best, each) => (each.count > best.count ? each : best)).one;
}

/** Names by column from `--columns`. */
function parseColumns(text: string): string[] {
  const names: string[] = [];
  for (const part of text.split(',')) {
    const match = /^([\w ]+)=([1-9]\d{0,3})$/.exec(part.trim());
    if (match === null || meaningOf(match[1] ?? '') === undefined) {
      const advice = 'write NAME=COLUMN with names such as time_us, offset, lba, length, op, key';
      throw new TmemError('usage', `--columns: "${part}" is not a column; ${advice}`);
    }
    const column = Number(match[2]);
    if (names[column - 1] !== undefined) {
      throw new TmemError('usage', `--columns: column ${column} has two names; give it one`);
    }
    names[column - 1] = match[1] ?? '';
  }
  return Array.from(names, (name) => name ?? '');
}

/** Whether the line is one of names, at least two of them known ones. */
export function isHeader(line: string): boolean {
  const names = line.split(separatorOf(line));
  return (
    !/^[\s\d.]+$/.test(names[0] ?? '') &&
    names.filter((name) => meaningOf(name) !== undefined).length >= Math.min(2, names.length)
  );
}

/** Whether a first line has words where `names` says that there are numbers. */
function isOtherHeader(fields: readonly string[], names: readonly string[]): boolean {
  const places: readonly number[] = [ROLE.offset, ROLE.length, ROLE.key];
  return names.some(
    (name, column) =>
      places.includes(meaningOf(name)?.role ?? ROLE.none) &&
      /^[\s"]*[a-z_]/i.test(fields[column] ?? ''),
  );
}

/** The unit that the times suggest: dates by their size, and seconds by many requests in each. */
function guessUnit(values: readonly string[]): TimeUnit {
  const [first = ''] = values;
  if (first.includes('.')) return 's';
  const time = Number(first);
  if (time >= 1e18) return 'ns';
  if (time >= 1e17) return '100ns';
  if (time >= 1e14) return 'us';
  if (time >= 1e11) return 'ms';
  return new Set(values).size * 2 <= values.length ? 's' : 'us';
}

/** A column and what its name means; undefined where that is nothing, or not what counts. */
type Meanings = readonly (Meaning | undefined)[];

/** Only the first column of a role counts, and of keys with places the one or the other. */
function withoutOthers(meanings: Meanings, unit: CsvPlan['unit']): Meanings {
  const idle: number = unit === 'keys' ? ROLE.offset : ROLE.key;
  return meanings.map((meaning, column) => {
    const first = meanings.findIndex((one) => one?.role === meaning?.role);
    return first === column && meaning?.role !== idle ? meaning : undefined;
  });
}

/** What to tell the user of columns that say the same as one before them. */
function duplicatesOf(path: string, names: readonly string[], meanings: Meanings): string[] {
  return meanings.flatMap((meaning, column) => {
    const role = meaning?.role;
    const first = meanings.findIndex((one) => one?.role === role);
    if (role === undefined || first === column) return [];
    const [one, other] = [first, column].map((at) => `column ${at + 1} (${names[at]?.trim()})`);
    const sentence = `${other} of ${path} was not used, since ${one} says the same`;
    return [`${sentence}; if it is the better one, name the columns with --columns`];
  });
}

/**
 * Finds out how `head` is to be read: by `--columns`, by its header, or by `defaults`. Throws a
 * `TmemError` if no column says what was asked for.
 */
export function planCsv(
  { path, lines }: FileHead,
  options: FormatOptions,
  defaults?: readonly string[],
): CsvPlan {
  const first = lines[0] ?? '';
  const separator = separatorOf(first);
  const fields = first.split(separator);
  const named = options.columns === undefined ? undefined : parseColumns(options.columns);
  const hasHeader = isHeader(first) || (named !== undefined && isOtherHeader(fields, named));
  const names = named ?? (hasHeader ? fields : defaults?.slice(0, fields.length)) ?? [];
  const all = names.map(meaningOf);
  const has = (role: number): boolean => all.some((meaning) => meaning?.role === role);
  if (!has(ROLE.key) && !(has(ROLE.offset) && has(ROLE.length))) {
    const sentence = 'has no columns called offset (or lba) and length, nor one called key';
    throw new TmemError('invalid', `${path} ${sentence}; name them with --columns NAME=COLUMN,…`);
  }
  const unit = has(ROLE.offset) && has(ROLE.length) ? 'bytes' : 'keys';
  const meanings = withoutOthers(all, unit);
  const time = meanings.findIndex((meaning) => meaning?.role === ROLE.time);
  const given = options.timeUnit ?? meanings[time]?.timeUnit;
  const values = lines
    .slice(hasHeader ? 1 : 0)
    .map((line) => line.split(separator)[time]?.replaceAll('"', '') ?? '');
  const timeUnit = time < 0 ? undefined : (given ?? guessUnit(values));
  const isGuess = timeUnit !== undefined && given === undefined;
  const units = Object.keys(TIME_UNITS).join(', ');
  const guess = `times of ${path} were taken for ${timeUnit}; if not, give --time-unit (${units})`;
  return {
    ...{ separator, unit, timeUnit, hasHeader },
    roles: meanings.map((meaning) => meaning?.role ?? ROLE.none),
    isOffsetInSectors: meanings.some((one) => one?.role === ROLE.offset && one.isInSectors),
    isLengthInSectors: meanings.some((one) => one?.role === ROLE.length && one.isInSectors),
    warnings: [...(isGuess ? [guess] : []), ...duplicatesOf(path, names, all)],
  };
}
