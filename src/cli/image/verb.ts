/** What every verb of `tmem image` is, and what it is given. */

import type { TmemError } from '../../lib/errors.ts';
import type { ParsedArguments } from '../command/arguments.ts';
import type { CliContext } from '../command/context.ts';
import type { VerbText } from '../command/verbs.ts';
import type { ImageProgress } from './progress.ts';

/** One call of a verb. */
export interface ImageCall {
  /** As many as the verb takes. */
  readonly operands: readonly string[];
  readonly parsed: ParsedArguments<string>;
  readonly context: CliContext;
  readonly progress: ImageProgress;
  /** Aborted when the user wants it to end. */
  readonly stopped: AbortSignal;
  /** Says what is not wrong, but may not be what was meant; a sentence without a full stop. */
  readonly warn: (message: string) => void;
}

/** What came of a call: for programs, and for people. Undefined where it is printed already. */
export interface ImageResult {
  readonly json?: unknown;
  /** Whole lines. */
  readonly text?: string | undefined;
  /** Default 0. */
  readonly exitCode?: number | undefined;
}

export interface ImageVerb extends VerbText {
  readonly operandsMin: number;
  readonly operandsMax: number;
  /** The last operand may begin with a minus and a digit. */
  readonly hasSignedOperand?: boolean;
  /** The exit code for a failure, where that is not what it is for other verbs. */
  readonly exitCodeOf?: (failure: TmemError) => number;
  /** Rejects with a TmemError for whatever the user can do something about. */
  run(call: ImageCall): Promise<ImageResult>;
}
