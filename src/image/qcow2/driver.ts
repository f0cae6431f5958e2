/** The qcow2 format, versions 2 and 3; what it is asked for is loaded then: a check needs no writer. */

import type { FormatDriver } from '../format.ts';

export const qcow2Driver: FormatDriver = {
  formatName: 'qcow2',
  open: async (...call) => (await import('./open.ts')).openQcow2(...call),
  info: async (...call) => (await import('./info.ts')).qcow2Info(...call),
  create: async (...call) => (await import('./create/create.ts')).createQcow2(...call),
  measure: async (...call) => (await import('./create/create.ts')).measureQcow2(...call),
  rebase: async (...call) => (await import('./rebase.ts')).rebaseQcow2(...call),
  check: async (...call) => (await import('./check/check.ts')).checkQcow2(...call),
};
