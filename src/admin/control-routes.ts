/** The control plane: what there is, and what can be done about it. */

import type { Controls } from './controls.ts';
import type { Route } from './router.ts';

export function controlRoutes(controls: Controls): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/status',
      operationId: 'getStatus',
      summary: 'Everything there is to know at this moment.',
      answer: { status: 200, says: 'The status.', schema: 'ServiceStatus' },
      handle: () => ({ status: 200, json: controls.status() }),
    },
  ];
}
