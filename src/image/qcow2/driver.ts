/** The qcow2 format, versions 2 and 3. */

import type { FormatDriver } from '../format.ts';
import { checkQcow2 } from './check.ts';
import { createQcow2 } from './create.ts';
import { qcow2Info } from './info.ts';
import { openQcow2 } from './open.ts';
import { rebaseQcow2 } from './rebase.ts';

export const qcow2Driver: FormatDriver = {
  formatName: 'qcow2',
  open: openQcow2,
  info: qcow2Info,
  create: createQcow2,
  rebase: rebaseQcow2,
  check: checkQcow2,
};
