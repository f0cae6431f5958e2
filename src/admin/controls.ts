/** What the administrative API can have a service do: the seam between HTTP and the service. */

import type { ServiceStatus } from './api.ts';

/** Every method is in force when it returns or resolves; failures are TmemErrors. */
export interface Controls {
  status(): ServiceStatus;
}
