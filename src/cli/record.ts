/** `tmem record`: has a running service record what its clients ask, for `tmem replay`. */

import type { RecordRequest, RecordStatus } from '../admin/api.ts';
import { recordStatus } from '../admin/schemas.ts';
import { checkRecordLimit, checkRecordSample, parseFraction } from '../config/values.ts';
import { refuse } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import { formatCount, formatPercent } from '../lib/quantities.ts';
import { formatSize, parseSize } from '../lib/sizes.ts';
import type { AdminClient } from './admin/client.ts';
import { ADMIN_OPTIONS, adminClient } from './admin/options.ts';
import { printsAbout } from './command/about.ts';
import {
  COMMON_OPTIONS,
  type OptionTable,
  type ParsedArguments,
  parseArguments,
  readValue,
} from './command/arguments.ts';
import type { CliContext } from './command/context.ts';
import { EXIT_DONE } from './command/exit-codes.ts';
import { formatEntry, formatOptions } from './command/help.ts';
import { printable } from './terminal/table.ts';

const PATH = '/v1/record';
/** The rest of a recording goes to a disk that may be slow, milliseconds. */
const ANSWER_MS_MAX = 60_000;

export const RECORD_VERBS = ['start', 'stop', 'status'] as const;

const RECORD_OPTIONS = {
  limit: {
    value: 'SIZE',
    help: 'what the file may come to (default: what is left\nof tmem serve --record-limit)',
  },
  sample: {
    value: 'SHARE',
    help: 'of the pages, whose requests are recorded, as 10%\n(default: that of --record-sample)',
  },
  json: { help: "print the service's answer as one line of JSON" },
  ...ADMIN_OPTIONS,
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

type RecordOption = keyof typeof RECORD_OPTIONS;

export const RECORD_HELP = `Usage: tmem record start|stop|status [OPTION]...

Has a running tmem serve record what its clients ask: which pages of which export, how and when, never
what is in them. tmem replay says what other sizes and policies would have made of it. The service
was told where recordings go, with --record-dir or --record, and names each file itself.

Verbs:
${formatEntry('start', 'begin a recording, in a new file')}
${formatEntry('stop', 'end it; the file is complete then')}
${formatEntry('status', 'say what is being recorded, or what was recorded last')}

Options:
${formatOptions(RECORD_OPTIONS)}

--limit and --sample are for start. A recording that has its limit ends by itself. When the disk is
slower than the clients, requests are left out and counted; clients never wait for a recording.

Exit codes: 0 done, 1 it failed or the service cannot be reached, 2 the request cannot be carried
out as it stands.
`;

function verbOf({ positionals }: ParsedArguments<RecordOption>): (typeof RECORD_VERBS)[number] {
  const [name, ...others] = positionals;
  const found = RECORD_VERBS.find((verb) => verb === name);
  if (found !== undefined && others.length === 0) return found;
  if (name === undefined) refuse('no verb was given; write tmem record start, stop or status');
  if (found !== undefined) refuse(`too much was given; write tmem record ${found}`);
  const meant = nearest(name, RECORD_VERBS) ?? 'start, stop or status';
  refuse(`there is no verb "${printable(name)}"; write tmem record ${meant}`);
}

function parseLimit(text: string): number {
  return checkRecordLimit(parseSize(text));
}

function parseSample(text: string): number {
  return checkRecordSample(parseFraction(text));
}

function requestOf(parsed: ParsedArguments<RecordOption>): RecordRequest {
  const limit = parsed.last('limit');
  const sample = parsed.last('sample');
  return {
    ...(limit !== undefined && { limitBytes: readValue('limit', limit, parseLimit) }),
    ...(sample !== undefined && { sampleRate: readValue('sample', sample, parseSample) }),
  };
}

function ask(
  verb: (typeof RECORD_VERBS)[number],
  client: AdminClient,
  parsed: ParsedArguments<RecordOption>,
): Promise<RecordStatus> {
  const isBare = !parsed.has('limit') && !parsed.has('sample');
  if (verb === 'start') return client.ask('POST', PATH, recordStatus, { body: requestOf(parsed) });
  if (!isBare) refuse('--limit and --sample are for tmem record start; leave them out');
  if (verb === 'status') return client.ask('GET', PATH, recordStatus);
  return client.ask('DELETE', PATH, recordStatus, { timeoutMs: ANSWER_MS_MAX });
}

const ENDINGS = { asked: '', limit: ', at its limit', failed: ', which failed' } as const;

function describe(status: RecordStatus): string {
  const { isRecording, file, requests, dropped, bytes, limitBytes, sampleRate, ending } = status;
  if (file === null) {
    return status.canRecord
      ? 'nothing has been recorded; begin with tmem record start\n'
      : 'nothing can be recorded: start tmem serve with --record-dir\n';
  }
  const what = isRecording ? 'recording to' : `recorded${ENDINGS[ending ?? 'asked']}, to`;
  const lines = [
    `${what} ${printable(file)}`,
    `  ${formatCount(requests)} requests, ${formatSize(bytes)} of ${formatSize(limitBytes)}`,
  ];
  if (sampleRate < 1) lines.push(`  of ${formatPercent(sampleRate)} of the pages`);
  const why = status.failure ?? 'the disk is slower than the clients';
  const left = dropped === 1 ? 'request was' : 'requests were';
  if (dropped > 0) lines.push(`  ${formatCount(dropped)} ${left} left out: ${printable(why)}`);
  else if (status.failure !== null) lines.push(`  ${printable(status.failure)}`);
  return `${lines.join('\n')}\n`;
}

/** Runs `tmem record`. */
export async function record(args: readonly string[], context: CliContext): Promise<number> {
  const parsed = parseArguments(args, RECORD_OPTIONS, 'tmem record');
  if (printsAbout(parsed, RECORD_HELP, context)) return EXIT_DONE;
  const verb = verbOf(parsed);
  const status = await ask(verb, adminClient(parsed, context), parsed);
  context.stdout(parsed.has('json') ? `${JSON.stringify(status)}\n` : describe(status));
  return EXIT_DONE;
}
