/** `tmem ctl drain`: waits until all that clients wrote to an export is on its image. */

import { drainedAnswer, serviceStatus } from '../../admin/schemas.ts';
import { TmemError } from '../../lib/errors.ts';
import { formatSize } from '../../lib/sizes.ts';
import { exportPath } from '../admin/owner-paths.ts';
import { parseNumber } from '../command/arguments.ts';
import { fractionOf } from '../terminal/bars.ts';
import { DrawnLine, progressBar } from '../terminal/progress-line.ts';
import { printable } from '../terminal/table.ts';
import type { Verb, VerbCall } from './verb.ts';

const SECONDS_DEFAULT = 60;
/** What the service waits at most. */
const SECONDS_MAX = 3600;
/** The service may take so much longer to say that it was not long enough. */
const ANSWER_MARGIN_MS = 10_000;

const POLL_MS = 250;
const POLL_ANSWER_MS_MAX = 2_000;

function parseTimeout(text: string | undefined): number {
  if (text === undefined) return SECONDS_DEFAULT;
  const message = `--timeout: "${text}" is not a time; give 1 to ${SECONDS_MAX} whole seconds`;
  return parseNumber(text, 1, message, SECONDS_MAX);
}

async function dirtyBytesOf(path: string, call: VerbCall, signal: AbortSignal): Promise<number> {
  const options = { signal, timeoutMs: POLL_ANSWER_MS_MAX };
  const status = await call.client.ask('GET', '/v1/status', serviceStatus, options);
  const found = status.exports.find(({ name }) => exportPath(`export:${name}`) === path);
  return found?.writeBack?.dirtyBytes ?? 0;
}

/** Shows how much is left, in a line that is redrawn, until `done` is aborted. */
async function showProgress(path: string, call: VerbCall, done: AbortSignal): Promise<void> {
  const { context, clock } = call;
  const line = new DrawnLine(context);
  let most = 0;
  try {
    while (!done.aborted) {
      const dirtyBytes = await dirtyBytesOf(path, call, done);
      if (done.aborted) break;
      most = Math.max(most, dirtyBytes);
      const written = progressBar(1 - fractionOf(dirtyBytes, most));
      line.draw([...written, `  ${formatSize(dirtyBytes)} dirty`]);
      await clock.pause(POLL_MS, done);
    }
  } catch (error) {
    // The drain itself says what is wrong with the service.
    if (!(error instanceof TmemError)) throw error;
  }
  line.clear();
}

async function askToDrain(path: string, seconds: number, call: VerbCall): Promise<unknown> {
  const done = new AbortController();
  const asked = call.client
    .ask('POST', `${path}/drain`, drainedAnswer, {
      body: { timeoutSeconds: seconds },
      timeoutMs: seconds * 1000 + ANSWER_MARGIN_MS,
    })
    .finally(() => done.abort());
  const shown = call.context.isTerminal ? showProgress(path, call, done.signal) : undefined;
  const [answer] = await Promise.allSettled([asked, shown]);
  if (answer.status === 'fulfilled') return answer.value;
  throw answer.reason;
}

/** The service's words for time being up speak of its API, not of our option. */
function inOurWords(error: unknown, name: string, seconds: number): unknown {
  if (!(error instanceof TmemError) || error.context.httpStatus !== 504) return error;
  const { dirtyBytes } = error.context;
  const left = typeof dirtyBytes === 'number' ? `${formatSize(dirtyBytes)} of ` : '';
  const sentence = `${left}what was written to ${name} is not on its image after ${seconds} s`;
  const advice = 'have its clients pause, give it longer with --timeout, or ask tmem status why';
  return new TmemError('io', `${sentence}; ${advice}`, { cause: error });
}

export const drainVerb: Verb = {
  name: 'drain',
  operands: 'EXPORT',
  operandsMin: 1,
  operandsMax: 1,
  summary: 'write what is dirty to the image, and wait',
  about:
    'Returns when all that clients had written to the export is on its image. With clients that go\n' +
    'on writing, that may be never: hence the time.',
  options: {
    timeout: {
      value: 'SECONDS',
      help: `how long to wait, 1 to ${SECONDS_MAX} (default: ${SECONDS_DEFAULT})`,
    },
  },
  run: async (call) => {
    const [operand = ''] = call.operands;
    const seconds = parseTimeout(call.parsed.last('timeout'));
    const path = exportPath(operand);
    const name = printable(operand);
    try {
      const answer = await askToDrain(path, seconds, call);
      return { json: answer, text: `${name} is clean\n` };
    } catch (error) {
      throw inOurWords(error, name, seconds);
    }
  },
};
