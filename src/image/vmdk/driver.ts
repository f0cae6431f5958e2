/** VMware's format, as VMware, qemu and VirtualBox write it; see docs/images/vmdk.md. */

import type { FormatDriver } from '../format.ts';
import { checkVmdk } from './check/check.ts';
import { createVmdk } from './create/create.ts';
import { vmdkInfo } from './info.ts';
import { openVmdk } from './open.ts';
import { rebaseVmdk } from './rebase.ts';

export const vmdkDriver: FormatDriver = {
  formatName: 'vmdk',
  open: openVmdk,
  info: vmdkInfo,
  create: createVmdk,
  isStream: ({ subformat }) => subformat === 'streamOptimized',
  rebase: rebaseVmdk,
  check: checkVmdk,
};
