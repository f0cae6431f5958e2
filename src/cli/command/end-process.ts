/** Ending the process without waiting for its threads, by _exit(2): one may wait for a disk that hangs. */

import { bindCLibrary } from '../../lib/c-library.ts';

/** Ends the process at once, with this exit code. Nothing is run or written out before. */
export type EndProcess = (code: number) => void;

/** Undefined where koffi or a C library it can load is not installed. */
export function bindEndProcess(): Promise<EndProcess | undefined> {
  return bindCLibrary((library) => library.func('_exit', 'void', ['int']));
}
