/** Runs `tmem image` in this process, in a directory of the test's own. */

import { image } from '../../../src/cli/image/image.ts';
import { main } from '../../../src/cli/main.ts';
import { ScriptedContext } from '../scripted-context.ts';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A context whose relative paths start in `directory`. */
export function contextIn(directory: string): ScriptedContext {
  const context = new ScriptedContext();
  Object.defineProperty(context, 'directory', { value: directory });
  return context;
}

/** A line that work tells of itself by when it takes long, as it may on a machine that is busy. */
const PROGRESS = /^\w+ {2}\d+ %.*\n/gm;

/** Runs it as a user would, failures included; what `err` has does not depend on the time it took. */
export async function runImage(directory: string, ...args: string[]): Promise<Ran> {
  const context = contextIn(directory);
  const code = await main(['image', ...args], context);
  return { code, out: context.out, err: context.err.replace(PROGRESS, '') };
}

/** Runs what has to succeed; answers what `--json` printed. */
export async function imageJson<Answer>(directory: string, ...args: string[]): Promise<Answer> {
  const context = contextIn(directory);
  const code = await image([...args, '--json'], context);
  if (code !== 0) throw new Error(`image ${args.join(' ')} ended with ${code}: ${context.err}`);
  return JSON.parse(context.out) as Answer;
}
