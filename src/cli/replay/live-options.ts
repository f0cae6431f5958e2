/** The options of `tmem replay --live`, and what they ask of it. */

import { refuse } from '../../lib/errors.ts';
import { type NbdTarget, parseNbdUri } from '../../lib/nbd-uri.ts';
import {
  COMMON_OPTIONS,
  type OptionTable,
  type ParsedArguments,
  parseWhole,
} from '../command/arguments.ts';
import { formatOptions } from '../command/help.ts';
import { parseProgress } from '../terminal/progress-line.ts';
import { INPUT_OPTIONS } from '../trace/input.ts';

const CONNECTIONS_MAX = 256;
const DEPTH_MAX = 4096;
/** An open loop asks whatever the answers are: it wants room. */
const DEPTH_OPEN = 256;
/** Deep enough for any server to be busy. */
const DEPTH_FAST = 32;
const SPEED_MAX = 1e6;

export const LIVE_OPTIONS = {
  live: {
    value: 'URI',
    help: 'the server: nbd://HOST:PORT/EXPORT, or\nnbd+unix:///EXPORT?socket=PATH',
  },
  speed: { value: 'X', help: 'so many times as fast as recorded (default: 1)' },
  'as-fast-as-possible': { help: 'the next request as soon as there is room for it' },
  connections: { value: 'N', help: 'connections to each export (default: 1)' },
  depth: {
    value: 'N',
    help: `requests under way on each (default: ${DEPTH_OPEN};\n${DEPTH_FAST} as fast as possible)`,
  },
  'allow-writes': {
    help: 'replay writes, trims and zeroes too, which destroy\nwhat is on the export; without it, only reads',
  },
  wrap: { help: 'fold what is beyond the end of an export into it' },
  ...INPUT_OPTIONS,
  json: { help: 'print the result as one line of JSON' },
  progress: {
    value: 'WHEN',
    help: 'how far it is, on standard error: auto (a bar on a\nterminal, else lines), on or off (default: auto)',
  },
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

type LiveOption = keyof typeof LIVE_OPTIONS;

export const LIVE_HELP = `Usage: tmem replay --live URI [OPTION]... TRACE...

Asks an NBD server what a trace says, when it says so, and reports how long the answers took. Requests
are sent when they are due whether or not earlier ones were answered; how late they were sent is
reported as the lag. A trace of several volumes is replayed on the exports of their names, if the URI
names none.

Options:
${formatOptions(LIVE_OPTIONS)}

Writes have content of their own, half of it noise. Exit codes: 0 done, 1 failed while running, or the
server answered with errors, 2 the request cannot be carried out as it stands.
`;

export interface LiveRequest {
  readonly target: NbdTarget;
  /** Undefined for as fast as possible. */
  readonly speed: number | undefined;
  readonly connections: number;
  readonly depth: number;
  readonly allowsWrites: boolean;
  readonly wraps: boolean;
  readonly showsProgress: boolean;
}

function parseSpeed(text: string): number {
  const speed = /^(\d{1,7}(\.\d{1,9})?|\.\d{1,9})x?$/.test(text) ? Number.parseFloat(text) : 0;
  if (speed > 0 && speed <= SPEED_MAX) return speed;
  refuse(
    `--speed: "${text}" is no speed; give a number above 0 and up to ${SPEED_MAX}, as 2 or 0.5`,
  );
}

/** Reads the options. Throws a usage error for what makes no sense. */
export function parseLive(parsed: ParsedArguments<LiveOption>): LiveRequest {
  const isFast = parsed.has('as-fast-as-possible');
  if (isFast && parsed.has('speed')) {
    refuse('--speed and --as-fast-as-possible are two wishes; leave one of them out');
  }
  const progress = parseProgress(parsed.last('progress'));
  const depth = parsed.last('depth');
  return {
    target: parseNbdUri(parsed.last('live') ?? ''),
    speed: isFast ? undefined : parseSpeed(parsed.last('speed') ?? '1'),
    connections: parseWhole('connections', parsed.last('connections') ?? '1', 1, CONNECTIONS_MAX),
    depth:
      depth === undefined
        ? isFast
          ? DEPTH_FAST
          : DEPTH_OPEN
        : parseWhole('depth', depth, 1, DEPTH_MAX),
    allowsWrites: parsed.has('allow-writes'),
    wraps: parsed.has('wrap'),
    showsProgress: progress !== 'off',
  };
}
