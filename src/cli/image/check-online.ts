/** `tmem image check --online`: the check is made by the service that has the image open. */

import { type CheckFinding, type CheckReport, FORMAT_NAMES } from '../../image/format.ts';
import { LONG_MS_MAX } from '../admin/client.ts';
import { flag, listOf, members, number, text, word } from '../admin/forms.ts';
import { adminClientAt } from '../admin/options.ts';
import { exportPath } from '../admin/owner-paths.ts';
import type { ImageCall } from './verb.ts';

const REPORT = members<CheckReport>({
  formatName: word(...FORMAT_NAMES),
  corruptions: number,
  leaks: number,
  errors: number,
  corruptionsFixed: number,
  leaksFixed: number,
  totalUnits: number,
  allocatedUnits: number,
  compressedUnits: number,
  fragmentedUnits: number,
  imageEndOffset: number,
  findings: listOf(
    members<CheckFinding>({
      kind: word('corruption', 'leak', 'error'),
      message: text,
      isRepaired: flag,
    }),
  ),
});

/** What the service at `address` finds in the image of the export `name`. */
export function askForCheck(
  { parsed, context, stopped }: ImageCall,
  name: string,
  address: string,
): Promise<CheckReport> {
  const client = adminClientAt('online', address, parsed, context);
  const options = { signal: stopped, timeoutMs: LONG_MS_MAX };
  return client.ask('POST', `${exportPath(name)}/check`, REPORT, options);
}
