/** What every command of the program is. */

import type { CliContext } from './context.ts';

export interface Command {
  readonly name: string;
  /** A sentence fragment for the list of commands. */
  readonly summary: string;
  /**
   * Runs with the arguments that follow the command's name and answers the exit code. Rejects with
   * a TmemError for whatever the user can do something about.
   */
  run(args: readonly string[], context: CliContext): Promise<number>;
}
