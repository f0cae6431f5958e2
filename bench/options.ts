/** The command line of the benchmark. */
import { parseArgs } from 'node:util';
import { CASES, SERVERS, SUITES } from './suites.ts';
import { isOwn } from './tmem.ts';
import { TOOL_CASES, TOOL_NAMES } from './tool-cases.ts';

/** What to run, and for how long. */
export interface BenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly cases: readonly string[];
  readonly servers: readonly string[];
  readonly imageBytes: number;
  readonly isSmoke: boolean;
}

const ALL_CASES = [...CASES, ...TOOL_CASES];
const ALL_SERVERS = [...SERVERS, ...TOOL_NAMES.map((id) => ({ id }))];

/** A mistake on the command line; the message says what to do. */
export class UsageError extends Error {}

/** The text that `--help` prints. */
export const HELP = `npm run bench -- [options]

  --suite A,B         ${SUITES.join(', ')} or all (reads, or those of --cases)
  --rounds N          rounds, each with another server first (3)
  --seconds S         seconds per case and server in a round (4)
  --cases A,B         ${lines(ALL_CASES)}
  --servers A,B       ${lines(ALL_SERVERS)}
  --only-peers        leave this server out
  --image-size MIB    size of the image (512)
  --smoke             a tiny image and one short round: shows that everything runs, measures nothing
`;

/** Reads the command line; undefined when it asks for help. */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const values = parse(args);
  if (values.help === true) return undefined;
  const isSmoke = values.smoke === true;
  const all = ALL_SERVERS.map(({ id }) => id).filter(
    (id) => values['only-peers'] !== true || !isOwn(id),
  );
  const suites = readSuites(values.suite, values.cases !== undefined);
  const cases = ALL_CASES.filter(({ suite }) => suites.includes(suite));
  const imageMib = number('--image-size', values['image-size'], isSmoke ? 32 : 512);
  if (!Number.isInteger(imageMib) || imageMib < 16) {
    throw new UsageError('--image-size is a whole number of MiB, 16 or more');
  }
  return {
    rounds: Math.ceil(number('--rounds', values.rounds, isSmoke ? 1 : 3)),
    seconds: number('--seconds', values.seconds, isSmoke ? 0.3 : 4),
    cases: list(
      '--cases',
      values.cases,
      cases.map(({ id }) => id),
    ),
    servers: list('--servers', values.servers, all),
    imageBytes: imageMib * 1024 ** 2,
    isSmoke,
  };
}

/** The suites that were asked for; without a word, the reads, unless cases are named. */
function readSuites(text: string | undefined, hasCases: boolean): readonly string[] {
  if (text === 'all' || (text === undefined && hasCases)) return SUITES;
  return list('--suite', text ?? 'reads', SUITES);
}

/** Names in lines of a width that a terminal has. */
function lines(named: readonly { readonly id: string }[]): string {
  const all: string[] = [];
  for (const { id } of named) {
    const last = all.at(-1);
    if (last !== undefined && last.length + id.length < 70) all.push(`${all.pop()}, ${id}`);
    else all.push(id);
  }
  return all.join(',\n                      ');
}

function parse(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        suite: { type: 'string' },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        cases: { type: 'string' },
        servers: { type: 'string' },
        'only-peers': { type: 'boolean' },
        'image-size': { type: 'string' },
        smoke: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
    return values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function number(option: string, text: string | undefined, standard: number): number {
  const value = text === undefined ? standard : Number(text);
  if (!(value > 0 && value < 1e6)) throw new UsageError(`${option} takes a number above 0`);
  return value;
}

function list(option: string, text: string | undefined, known: readonly string[]): string[] {
  if (text === undefined) return [...known];
  const wanted = text.split(',');
  const unknown = wanted.find((id) => !known.includes(id));
  if (unknown !== undefined) {
    throw new UsageError(`${option} knows no "${unknown}", only ${known.join(', ')}`);
  }
  return known.filter((id) => wanted.includes(id));
}
