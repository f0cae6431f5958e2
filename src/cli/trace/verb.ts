/** What every verb of `tmem trace` is, and what it is given. */

import type { ParsedArguments } from '../command/arguments.ts';
import type { Clock } from '../command/clock.ts';
import type { CliContext } from '../command/context.ts';
import type { VerbText } from '../command/verbs.ts';
import type { Progress } from './progress.ts';

/** One call of a verb. */
export interface TraceCall {
  /** The traces, as paths from the root. */
  readonly paths: readonly string[];
  readonly parsed: ParsedArguments<string>;
  readonly context: CliContext;
  readonly clock: Clock;
  readonly progress: Progress;
  /** Aborted when the user wants it to end. */
  readonly stopped: AbortSignal;
}

/** What came of a call: for programs, and for people. */
export interface TraceResult {
  readonly json: unknown;
  /** Whole lines. */
  readonly text: string;
  /** What went to standard error; sentences without a full stop. */
  readonly warnings: readonly string[];
}

export interface TraceVerb extends VerbText {
  readonly operandsMin: number;
  /** Rejects with a TmemError for whatever the user can do something about. */
  run(call: TraceCall): Promise<TraceResult>;
}
