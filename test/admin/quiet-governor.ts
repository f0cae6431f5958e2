/** A governor of a stack that sees no pressure; it looks only when it is started. */

import { onTestFinished } from 'vitest';
import { Governor } from '../../src/governor/governor.ts';
import type { Tmem } from '../../src/tmem/tmem.ts';

export function quietGovernor(tmem: Tmem): Governor {
  const governor = new Governor({
    reclaimable: tmem,
    configuredBytes: tmem.limitBytes,
    log: { warn: () => undefined },
    read: () => ({
      groupStalls: { someShare10s: 0.125, someTotalUs: 0, fullTotalUs: 0 },
      machineStalls: undefined,
      groupRooms: [],
      machineRoom: undefined,
    }),
  });
  onTestFinished(() => governor.stop());
  return governor;
}
