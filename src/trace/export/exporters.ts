/** The formats that traces can be written in. */

import { TmemError } from '../../lib/errors.ts';
import { nearest } from '../../lib/nearest.ts';
import { CsvExporter } from './csv.ts';
import type { Exporter, ExportOptions } from './exporter.ts';
import { LCS_LAYOUT, LCS_V2_LAYOUT, ObjectExporter, ORACLE_LAYOUT } from './objects.ts';
import type { OutputFile } from './output-file.ts';
import { OwnExporter } from './own.ts';

interface Output {
  readonly title: string;
  /** The end of a file's name that stands for it. */
  readonly suffix: RegExp;
  create(file: OutputFile, options: ExportOptions): Exporter;
}

const OUTPUTS: Readonly<Record<string, Output>> = {
  tmem: {
    title: 'tmem trace',
    suffix: /\.tmemtrace$/,
    create: (file, options) => new OwnExporter(file, options),
  },
  'oracle-general': {
    title: 'libCacheSim oracleGeneral',
    suffix: /oraclegeneral(\.bin)?$/i,
    create: (file, options) => new ObjectExporter(file, ORACLE_LAYOUT, options),
  },
  lcs: {
    title: 'libCacheSim lcs, header of 1,024 bytes (to October 2024)',
    suffix: /\.lcs$/i,
    create: (file, options) => new ObjectExporter(file, LCS_LAYOUT, options),
  },
  'lcs-v2': {
    title: 'libCacheSim lcs, header of 8,192 bytes, version 2',
    suffix: /\.lcs2$/i,
    create: (file, options) => new ObjectExporter(file, LCS_V2_LAYOUT, options),
  },
  csv: {
    title: 'CSV with named columns',
    suffix: /\.csv$/i,
    create: (file, options) => new CsvExporter(file, options),
  },
};

/** The names, as `--to` takes them. */
export const OUTPUT_NAMES: readonly string[] = Object.keys(OUTPUTS);

/** The output that a name stands for; throws a usage error for one that there is not. */
export function outputOfName(name: string): Output {
  const output = OUTPUTS[name];
  if (output !== undefined) return output;
  const meant = nearest(name, OUTPUT_NAMES);
  const advice =
    meant === undefined ? `take one of ${OUTPUT_NAMES.join(', ')}` : `did you mean ${meant}?`;
  throw new TmemError('usage', `traces cannot be written as "${name}"; ${advice}`);
}

/** The name of the output that a file is called like; our own if it is called like none. */
export function outputNameOf(path: string): string {
  return OUTPUT_NAMES.find((name) => OUTPUTS[name]?.suffix.test(path)) ?? 'tmem';
}
