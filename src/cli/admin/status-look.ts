/** Asks a service for its status. */

import type { ServiceStatus } from '../../admin/api.ts';
import { TmemError } from '../../lib/errors.ts';
import type { AdminClient, AskOptions } from './client.ts';

/** Whether it has the parts of a status; what is in them is the service's word. */
function isStatus(content: unknown): content is ServiceStatus {
  if (typeof content !== 'object' || content === null) return false;
  const { memory, layers, exports, pools } = content as Partial<ServiceStatus>;
  const isWhole = [layers, exports, pools].every((list) => Array.isArray(list));
  return isWhole && typeof memory === 'object' && memory !== null;
}

/** The status now. Rejects with a TmemError as the client does, or when it is something else. */
export async function lookAtStatus(
  client: AdminClient,
  options?: Omit<AskOptions, 'body'>,
): Promise<ServiceStatus> {
  const content = await client.ask<unknown>('GET', '/v1/status', options);
  if (isStatus(content)) return content;
  const sentence = `what ${client.place} answers is not the status of this version of tmem`;
  throw new TmemError('unsupported', `${sentence}; use the tmem that the service was started with`);
}
