/** What every verb of `tmem ctl` is, and what it is given. */

import type { AdminClient } from '../admin/client.ts';
import type { ParsedArguments } from '../command/arguments.ts';
import type { Clock } from '../command/clock.ts';
import type { CliContext } from '../command/context.ts';
import type { VerbText } from '../command/verbs.ts';

/** One call of a verb. */
export interface VerbCall {
  /** As many as the verb takes. */
  readonly operands: readonly string[];
  readonly parsed: ParsedArguments<string>;
  readonly client: AdminClient;
  readonly context: CliContext;
  readonly clock: Clock;
}

/** What came of a call: the service's own answer for programs, and a text for people. */
export interface VerbResult {
  readonly json: unknown;
  /** Whole lines. */
  readonly text: string;
}

export interface Verb extends VerbText {
  readonly operandsMin: number;
  readonly operandsMax: number;
  /** Rejects with a TmemError for whatever the user can do something about. */
  run(call: VerbCall): Promise<VerbResult>;
}
