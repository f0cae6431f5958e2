/** `tmem image check` and `repair`: whether the tables of an image are right. */

import type { CheckReport } from '../../image/format.ts';
import { checkImage } from '../../imaging/check.ts';
import { TmemError } from '../../lib/errors.ts';
import { formatCount, formatPercent } from '../../lib/quantities.ts';
import type { OptionTable } from '../command/arguments.ts';
import { fullPath } from '../command/context.ts';
import { fractionOf } from '../terminal/bars.ts';
import { printable } from '../terminal/table.ts';
import { ALLOW_OPTION, allowedBacking, FORMAT_OPTION, parseFormat } from './options.ts';
import type { ImageCall, ImageResult, ImageVerb } from './verb.ts';

const EXIT_COULD_NOT = 1;
const EXIT_CORRUPT = 2;
const EXIT_LEAKS = 3;
const EXIT_UNSUPPORTED = 63;

/** As qemu-img's. */
const EXIT_CODES = `Exit codes: 0 clean, 1 it could not be checked, 2 corrupt, 3 leaks only, 63 nothing to check in this
format, 130 interrupted.
`;

const OPTIONS = { ...FORMAT_OPTION, ...ALLOW_OPTION } as const satisfies OptionTable<string>;

/** Findings that people are shown. */
const SHOWN_MAX = 20;

function exitCodeOf({ errors, corruptions, leaks }: CheckReport): number {
  if (corruptions > 0) return EXIT_CORRUPT;
  if (errors > 0) return EXIT_COULD_NOT;
  return leaks > 0 ? EXIT_LEAKS : 0;
}

function describe(report: CheckReport): string {
  const { findings, corruptions, leaks, errors, corruptionsFixed, leaksFixed } = report;
  const lines = findings.slice(0, SHOWN_MAX).map(({ kind, message, isRepaired }) => {
    return `${isRepaired ? 'mended ' : ''}${kind}: ${printable(message)}`;
  });
  if (findings.length > SHOWN_MAX) {
    lines.push(`and ${formatCount(findings.length - SHOWN_MAX)} more, see --json`);
  }
  const count = (number: number, what: string) => `${formatCount(number)} ${what}`;
  if (corruptionsFixed + leaksFixed > 0) {
    lines.push(`mended: ${count(corruptionsFixed, 'corruptions')}, ${count(leaksFixed, 'leaks')}`);
  }
  const isClean = corruptions + leaks + errors === 0;
  lines.push(
    isClean
      ? 'no errors were found'
      : `left: ${count(corruptions, 'corruptions')}, ${count(leaks, 'leaks')}, ${count(errors, 'errors')}`,
  );
  if (report.totalUnits > 0) lines.push(describeUse(report));
  return `${lines.join('\n')}\n`;
}

function describeUse(report: CheckReport): string {
  const { totalUnits, allocatedUnits, compressedUnits, fragmentedUnits } = report;
  const share = (part: number, whole: number) => formatPercent(fractionOf(part, whole));
  return (
    `${formatCount(allocatedUnits)} of ${formatCount(totalUnits)} units allocated ` +
    `(${share(allocatedUnits, totalUnits)}), ${share(fragmentedUnits, allocatedUnits)} of them ` +
    `fragmented, ${share(compressedUnits, allocatedUnits)} compressed`
  );
}

function parseRepair(text: string | undefined): 'leaks' | 'all' | undefined {
  if (text === undefined || text === 'leaks' || text === 'all') return text;
  throw new TmemError('usage', `--repair: "${text}" is neither leaks nor all`);
}

async function check(call: ImageCall, repair: 'leaks' | 'all' | undefined): Promise<ImageResult> {
  const { operands, context, parsed, stopped, progress } = call;
  const path = fullPath(operands[0] ?? '', context);
  const report = await checkImage(path, {
    formatName: parseFormat(parsed),
    repair,
    allowBacking: allowedBacking(call),
    warn: call.warn,
    onProgress: progress.show,
    signal: stopped,
  });
  return { json: { path, ...report }, text: describe(report), exitCode: exitCodeOf(report) };
}

/** Asks a service that has the image open. */
async function checkOnline(call: ImageCall, address: string): Promise<ImageResult> {
  if (call.parsed.has('repair')) {
    throw new TmemError(
      'usage',
      'a service repairs nothing online; stop it, and leave --online out',
    );
  }
  const { askForCheck } = await import('./check-online.ts');
  const name = call.operands[0] ?? '';
  const report = await askForCheck(call, name, address);
  return {
    json: { export: name, ...report },
    text: describe(report),
    exitCode: exitCodeOf(report),
  };
}

const SHARED = {
  operands: 'FILE',
  operandsMin: 1,
  operandsMax: 1,
  exitCodes: EXIT_CODES,
  // Not every `unsupported`: an image with an unknown feature has tables, which nobody has looked at.
  exitCodeOf: ({ context }: TmemError) =>
    context.hasTables === false ? EXIT_UNSUPPORTED : EXIT_COULD_NOT,
} as const;

export const checkVerb: ImageVerb = {
  ...SHARED,
  name: 'check',
  summary: 'tell whether the tables of an image are right',
  about:
    'Looks at the tables of the image, not at the content of the disk. The image must not be in use,\n' +
    'but with --online, where FILE is the name of an export. Without --repair nothing is changed.',
  options: {
    repair: {
      short: 'r',
      value: 'WHAT',
      help: 'leaks: give leaked space back; all: mend what can be\nmended without losing data',
    },
    online: {
      value: 'ADDRESS',
      help: 'ask the service whose admin listener is there,\nHOST:PORT or unix:PATH',
    },
    'token-file': {
      value: 'FILE',
      help: 'what that service asks for as a token\n(default: what TMEM_TOKEN holds)',
    },
    ...OPTIONS,
  },
  run: (call) => {
    const repair = parseRepair(call.parsed.last('repair'));
    const address = call.parsed.last('online');
    return address === undefined ? check(call, repair) : checkOnline(call, address);
  },
};

export const repairVerb: ImageVerb = {
  ...SHARED,
  name: 'repair',
  summary: 'mend the tables of an image',
  about: 'As check with --repair=all. Make a copy first where the content is dear.',
  options: OPTIONS,
  run: (call) => check(call, 'all'),
};
