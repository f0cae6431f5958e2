/** The advisors of a service: one for each export that reads through its cache. */

import type { AdvisorStatus } from '../admin/api.ts';
import { adviceOf } from '../advisor/advice.ts';
import { type AdvisedCache, Advisor } from '../advisor/advisor.ts';
import { type AdvisorSize, advisorBytes, advisorSizeFor } from '../advisor/budget.ts';
import type { AdvisorReport } from '../advisor/report.ts';
import type { Export } from '../export/export.ts';
import type { PolicyName } from '../policy/policies.ts';
import { evictedForMemory } from '../tmem/layer.ts';
import type { Tmem } from '../tmem/tmem.ts';
import type { Disk } from './disks.ts';
import type { ServiceSettings } from './settings.ts';

/** What a page takes beside its bytes, about; for as long as there is none to ask. */
const METADATA_BYTES = 64;

/** How large the advisors are, and what all of them take. */
export interface AdvisorsPlan {
  readonly policy: PolicyName;
  readonly size: AdvisorSize | undefined;
  readonly bytes: number;
}

/** Plans advisors for `count` exports in a service of `memoryBytes`; none where they do not fit. */
export function planAdvisors(policy: PolicyName, count: number, memoryBytes: number): AdvisorsPlan {
  const size = count === 0 ? undefined : advisorSizeFor(policy, count, memoryBytes);
  return { policy, size, bytes: size === undefined ? 0 : count * advisorBytes(policy, size) };
}

/** The same for all that is served that can be advised on, if that is wanted. */
export function planAdvisorsOf(
  { hasAdvisor, policyName }: Pick<ServiceSettings, 'hasAdvisor' | 'policyName'>,
  disks: readonly Pick<Disk, 'mode'>[],
  memoryBytes: number,
): AdvisorsPlan {
  return planAdvisors(policyName, hasAdvisor ? disks.filter(isAdvised).length : 0, memoryBytes);
}

/** Whether an export of that mode is advised on: a swap device is no cache of anything. */
function isAdvised({ mode }: Pick<Export, 'mode'>): boolean {
  return mode !== 'swap';
}

export class Advisors {
  readonly #advisors = new Map<string, Advisor>();

  /** Has the exports tell them what is asked for, from now on. */
  constructor({ policy, size }: AdvisorsPlan, exports: readonly Export[], tmem: Tmem) {
    if (size === undefined) return;
    for (const each of exports.filter(isAdvised)) {
      const advisor = new Advisor({ policy, size, cache: advisedCache(each, tmem) });
      this.#advisors.set(each.name, advisor);
      each.watchAccesses(advisor);
    }
  }

  /** What is known of the export; undefined where nobody watches it. */
  reportOf(exportName: string): AdvisorReport | undefined {
    return this.#advisors.get(exportName)?.report();
  }

  /** The same in the words of the administrative API. */
  statusOf(exportName: string): AdvisorStatus | null {
    const report = this.reportOf(exportName);
    if (report === undefined) return null;
    const { isFull, uncountedReads, sizes, others, ...rest } = report;
    return {
      advice: adviceOf(report),
      ...rest,
      sizes: sizes.map(({ classes, ...shown }) => shown),
      others: others.map(({ classes, ...shown }) => shown),
    };
  }
}

/** An export's part of the memory, as its advisor asks for it. */
function advisedCache(target: Export, tmem: Tmem): AdvisedCache {
  const { pages, reads, pageBytes } = target;
  const { account } = target.cache.pool;
  const room = new FreeRoom(tmem);
  return {
    pageBytes,
    has: (page) => pages.has(page),
    heldPages: () => account.pages,
    chargeBytes: () => {
      if (account.pages > 0) return account.usedBytes / account.pages;
      return meanCharge(tmem) ?? pageBytes + METADATA_BYTES;
    },
    freeBytes: () => Math.min(room.bytes(), account.capBytes - account.usedBytes),
    aheadPages: () => reads.readAhead.usedPages - reads.statistics.joinedPages,
  };
}

/** What the pages of all accounts charge on average; undefined when there are none. */
function meanCharge({ accounts }: Tmem): number | undefined {
  let bytes = 0;
  let count = 0;
  for (const { usedBytes, pages } of accounts) {
    bytes += usedBytes;
    count += pages;
  }
  return count === 0 ? undefined : bytes / count;
}

/**
 * What is free in all layers. A stack that evicts is full whatever its limit says, unless it was for
 * a cap: slabs have holes, and a layer may be full for itself. So what was used then is what it has
 * room for.
 */
class FreeRoom {
  readonly #tmem: Tmem;
  #evictions = 0;
  #limitBytes = 0;
  #roomBytes = Number.POSITIVE_INFINITY;

  constructor(tmem: Tmem) {
    this.#tmem = tmem;
  }

  bytes(): number {
    const { usedBytes, limitBytes, layers } = this.#tmem;
    const evictions = evictedForMemory(layers);
    if (evictions > this.#evictions) this.#roomBytes = usedBytes;
    else if (limitBytes !== this.#limitBytes) this.#roomBytes = Number.POSITIVE_INFINITY;
    this.#evictions = evictions;
    this.#limitBytes = limitBytes;
    return Math.max(0, Math.min(limitBytes, this.#roomBytes) - usedBytes);
  }
}
