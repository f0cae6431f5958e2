/** `tmem image check --online`: the check is made by the service that has the image open. */

import { checkReport } from '../../admin/schemas.ts';
import type { CheckReport } from '../../image/format.ts';
import { LONG_MS_MAX } from '../admin/client.ts';
import { adminClientAt } from '../admin/options.ts';
import { exportPath } from '../admin/owner-paths.ts';
import type { ImageCall } from './verb.ts';

/** What the service at `address` finds in the image of the export `name`. */
export async function askForCheck(
  { parsed, context, stopped }: ImageCall,
  name: string,
  address: string,
): Promise<CheckReport> {
  const client = adminClientAt('online', address, parsed, context);
  const options = { signal: stopped, timeoutMs: LONG_MS_MAX };
  const report = await client.ask('POST', `${exportPath(name)}/check`, checkReport, options);
  return report as CheckReport;
}
