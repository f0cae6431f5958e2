/** What the NBD server must know of the exports it offers; the service implements it. */

import type { Export } from '../export/export.ts';

/** The exports by name. The empty name is the default export. */
export interface ExportDirectory {
  /** Names in the order in which LIST shows them. */
  names(): readonly string[];
  /** The export of that name, or undefined. */
  find(name: string): Export | undefined;
}
