/** `tmem replay`: what every policy would have hit in a cache of every size. */

import path from 'node:path';
import { TmemError } from '../../lib/errors.ts';
import { packageVersion } from '../../lib/package-version.ts';
import { type ReplayOptions, type ReplayOutcome, replay } from '../../replay/report/replay.ts';
import { FLOOR_POLICY } from '../../replay/report/report.ts';
import { refuseExisting } from '../../replay/report/report-folder.ts';
import { openTrace } from '../../trace/open-trace.ts';
import type { Trace } from '../../trace/trace.ts';
import { printsAbout } from '../command/about.ts';
import { parseArguments } from '../command/arguments.ts';
import { type Clock, systemClock } from '../command/clock.ts';
import { type CliContext, fullPath, tell } from '../command/context.ts';
import { EXIT_DONE } from '../command/exit-codes.ts';
import { shellWord } from '../command/shell-word.ts';
import { stoppable } from '../command/stoppable.ts';
import { tracePath } from '../trace/input.ts';
import { isLive, runLive } from './live.ts';
import { type ContentsSource, openContents } from './replay-contents.ts';
import { parseRequest, REPLAY_HELP, REPLAY_OPTIONS, type ReplayRequest } from './replay-options.ts';
import { ProgressLine } from './replay-progress.ts';
import { formatReplay } from './replay-table.ts';

/** The command that gives the same result: every option that decides it, and no other. */
function commandOf(options: ReadonlyMap<string, string>, files: readonly string[]): string {
  const words = [...options].flatMap(([name, value]) => [`--${name}`, value]);
  return ['tmem', 'replay', ...words, '--', ...files].map(shellWord).join(' ');
}

interface ReplayCall {
  readonly request: ReplayRequest;
  readonly files: readonly string[];
  readonly context: CliContext;
  readonly signal: AbortSignal;
  /** Undefined where no report is wanted. */
  readonly folder: string | undefined;
  readonly progress: ProgressLine | undefined;
}

async function run(call: ReplayCall): Promise<{ trace: Trace; outcome: ReplayOutcome }> {
  const { request, files, context, folder } = call;
  if (folder !== undefined) await refuseExisting(folder);
  const source = openContents(request.contents, request.seed, context);
  try {
    const paths = files.map((file) => tracePath(file, context));
    const trace = await openTrace(paths, request.input);
    const outcome = await replay(trace, replayOptions(call, trace, source));
    if (folder !== undefined && outcome.report !== undefined) {
      // Only those who want a report wait until the library for charts is loaded.
      const { writeReport } = await import('../../replay/report/write-report.ts');
      await writeReport(outcome.report, folder);
    }
    return { trace, outcome };
  } finally {
    source.close();
  }
}

function replayOptions(
  { request, files, signal, folder, progress }: ReplayCall,
  trace: Trace,
  { contentsOf }: ContentsSource,
): ReplayOptions {
  const { pageBytes, memory, hasDefaultMemory, ops, warmup, sampleRate, engine, threads, seed } =
    request;
  // What was not asked for is not refused.
  const canForesee = trace.canRereads || !request.hasDefaultPolicies;
  const policies = request.policies.filter((policy) => canForesee || policy !== FLOOR_POLICY);
  const options = new Map(request.options);
  if (!canForesee) options.set('policy', policies.join(','));
  // As asked for, the sizes that are left out would be refused.
  if (engine === 'full' && hasDefaultMemory) options.delete('memory');
  return {
    ...{ pageBytes, memory, hasDefaultMemory, ops, warmup, sampleRate, engine, seed },
    ...{ contentsOf, signal },
    ...(threads !== undefined && { threads }),
    policies,
    wantsReport: folder !== undefined,
    origin: {
      command: commandOf(options, files),
      files,
      versions: { tmem: packageVersion(), 'Node.js': process.version },
    },
    onProgress: (made) => progress?.show(made),
  };
}

/** Runs `tmem replay`; `clock` is replaced in tests. */
export async function runReplay(
  args: readonly string[],
  context: CliContext,
  clock: Clock = systemClock,
): Promise<number> {
  if (isLive(args)) return runLive(args, context, clock);
  const parsed = parseArguments(args, REPLAY_OPTIONS, 'tmem replay');
  if (printsAbout(parsed, REPLAY_HELP, context)) return EXIT_DONE;
  const files = parsed.positionals;
  if (files.length === 0) {
    throw new TmemError('usage', 'tmem replay needs a trace to replay; see its --help');
  }
  const request = parseRequest(parsed);
  const out = parsed.last('out');
  const folder = out === undefined ? undefined : fullPath(out, context);
  const progress = request.showsProgress ? new ProgressLine(context, clock) : undefined;
  return stoppable(context, async (signal) => {
    try {
      const call = { request, files, context, signal, folder, progress };
      const { trace, outcome } = await run(call);
      progress?.end();
      if (parsed.has('json')) {
        for (const warning of trace.statistics.warnings) tell(context, warning);
        for (const note of outcome.advice.notes) tell(context, note);
        context.stdout(`${JSON.stringify(outcome.runs)}\n`);
      } else {
        context.stdout(
          formatReplay(outcome, {
            traceName: trace.name,
            unit: trace.unit,
            pageBytes: request.pageBytes,
            ops: request.ops,
            warnings: trace.statistics.warnings,
          }),
        );
        if (folder !== undefined) context.stdout(`\nreport: ${path.join(folder, 'report.html')}\n`);
      }
      return EXIT_DONE;
    } finally {
      progress?.end();
    }
  });
}
