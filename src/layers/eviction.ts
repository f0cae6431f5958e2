/**
 * Which pages of a layer leave, and where to: to the layer below if that takes them, else nowhere,
 * but for persistent ones, which then stay. So room is made for puts, memory is given back, and
 * accounts come down to their caps.
 */

import {
  createEncodedPage,
  type EncodedPage,
  isRefused,
  type Layer,
  type LayerStatistics,
} from '../tmem/layer.ts';
import type { HeldPages } from './held-pages.ts';
import type { Tenant } from './tenants.ts';

/** Victims that one step towards room tries, where persistent ones may have nowhere to go. */
const VICTIMS_PER_STEP_MAX = 10;

/** Pages that one call of `shrink` may look at: so many, and one more for each so many bytes. */
const VICTIMS_PER_SHRINK_MIN = 64;
const BYTES_PER_VICTIM = 128;
/** Pages that `trimToCaps` may look at for each that leaves. */
const VICTIMS_PER_PAGE = 16;
/** After so many pages in a row that must stay, `shrink` turns to another account. */
const KEPT_IN_A_ROW_MAX = 32;
/** Slabs that one call moves so that arenas get empty: 256 KiB each at most, up to 256 GiB. */
const SLABS_MOVED_PER_SHRINK_MAX = 4;

export interface EvictionOptions {
  readonly held: HeldPages;
  readonly next: Layer | undefined;
  readonly statistics: LayerStatistics;
  /** Tries for room that one put may make. */
  readonly triesPerPutMax: number;
}

export class Eviction {
  readonly #options: EvictionOptions;
  readonly #held: HeldPages;
  readonly #next: Layer | undefined;
  readonly #statistics: LayerStatistics;
  readonly #pushed: EncodedPage = createEncodedPage();

  constructor(options: EvictionOptions) {
    this.#options = options;
    this.#held = options.held;
    this.#next = options.next;
    this.#statistics = options.statistics;
  }

  /** One step towards room: a slab by compaction, else the memory of a page; false if it is over. */
  makeRoom(asking: Tenant | undefined): boolean {
    return this.#held.compact() > 0 || this.#evictOne(asking);
  }

  /** Makes the account give up pages of this layer, until so many bytes more are within its cap. */
  fitCap(tenant: Tenant, bytes: number): boolean {
    const { account } = tenant;
    for (let tries = this.#options.triesPerPutMax; tries > 0 && tenant.hasQueued; tries--) {
      const isGone =
        this.#dropFilled(tenant) || (tenant.policy.count > 0 && this.#evictFrom(tenant));
      if (isGone) this.#statistics.evictedAtCap++;
      if (account.usedBytes + bytes <= account.capBytes) return true;
    }
    return false;
  }

  /** Gives about that much back from here alone, to the system as well. */
  give(bytes: number): number {
    const { slabs } = this.#held;
    slabs.isGivingBack = true;
    try {
      return this.#giveUp(bytes);
    } finally {
      slabs.isGivingBack = false;
    }
  }

  /** Has accounts that are above their caps give up pages of this layer; answers how many left. */
  trimToCaps(pagesMax: number): number {
    const held = this.#held;
    const kept: number[] = [];
    let count = 0;
    for (let tries = VICTIMS_PER_PAGE * pagesMax; tries > 0 && count < pagesMax; tries--) {
      const tenant = held.tenants.aboveCap();
      if (tenant === undefined) break;
      if (this.#dropFilled(tenant)) {
        this.#statistics.evictedAtCap++;
        count++;
        continue;
      }
      if (tenant.policy.count === 0) continue;
      const slot = this.#victimOf(tenant);
      if (!this.#mayDrop(slot)) {
        kept.push(slot);
        continue;
      }
      held.release(slot);
      this.#statistics.evictedForCapacity++;
      this.#statistics.evictedAtCap++;
      count++;
    }
    for (const slot of kept) held.queue(slot);
    return count;
  }

  /** Whether the layer below has the page too. */
  isBelow(slot: number): boolean {
    if (this.#next === undefined) return false;
    const { index } = this.#held;
    return this.#next.has(index.poolOf(slot), index.objectOf(slot), index.indexOf(slot));
  }

  #giveUp(bytes: number): number {
    const held = this.#held;
    const before = held.budget.usedBytes;
    const kept: number[] = [];
    let victims = VICTIMS_PER_SHRINK_MIN + bytes / BYTES_PER_VICTIM;
    let keptInARow = 0;
    held.tenants.forgetStuck();
    while (before - held.budget.usedBytes < bytes && victims-- > 0) {
      if (held.compact() > 0) continue;
      const tenant = this.#chooseGiver(undefined);
      if (tenant === undefined) break;
      const slot = this.#victimOf(tenant);
      if (this.#mayDrop(slot)) {
        held.release(slot);
        this.#statistics.evictedForShrink++;
        keptInARow = 0;
        continue;
      }
      kept.push(slot);
      if (++keptInARow % KEPT_IN_A_ROW_MAX === 0) held.tenants.noteStuck(tenant);
    }
    for (const slot of kept) held.queue(slot);
    // What the policies remember now must not take the layer above its limit.
    if (before <= held.budget.limitBytes) held.budget.fit(undefined);
    held.slabs.releaseArenas(SLABS_MOVED_PER_SHRINK_MAX);
    return before - held.budget.usedBytes;
  }

  /** Whose page goes next: nobody's who has turned out stuck, unless everybody has. */
  #chooseGiver(asking: Tenant | undefined): Tenant | undefined {
    const { tenants } = this.#held;
    const giver = tenants.choose(asking);
    if (giver !== undefined || !tenants.isAnyStuck) return giver;
    tenants.forgetStuck(); // everybody was asked once: once more
    return tenants.choose(asking);
  }

  /**
   * Lets the first of the next victims go that can. A persistent page that the layer below refuses
   * has nowhere to go and stays; then another account is asked, if there is one that may be.
   */
  #evictOne(asking: Tenant | undefined): boolean {
    const { tenants } = this.#held;
    let owing: Tenant | undefined; // whose turn it was
    let giver: Tenant | undefined;
    tenants.forgetStuck();
    for (let tries = 0; tries < VICTIMS_PER_STEP_MAX && giver === undefined; tries++) {
      const tenant = this.#chooseGiver(asking);
      if (tries === 0) owing = tenants.owing ?? tenant;
      if (tenant === undefined) break;
      if (this.#evictFrom(tenant)) giver = tenant;
      else tenants.noteStuck(tenant);
    }
    if (owing !== undefined && owing !== (giver ?? asking)) owing.account.owedPages++;
    return giver !== undefined;
  }

  /** Evicts the tenant's next victim; false when that has nowhere to go and must stay. */
  #evictFrom(tenant: Tenant): boolean {
    const slot = this.#victimOf(tenant);
    if (!this.#pushDown(slot, tenant) && this.#held.pages.isPersistent(slot)) {
      this.#held.queue(slot);
      return false;
    }
    this.#held.release(slot);
    this.#statistics.evictedForCapacity++;
    return true;
  }

  /** Drops a same-filled page of an account at its cap, if such a one is to go first, and is found. */
  #dropFilled(tenant: Tenant): boolean {
    if (!this.#held.isFilledNext(tenant) || !this.#held.dropFilled(tenant)) return false;
    this.#statistics.evictedForCapacity++;
    return true;
  }

  /** Takes the next victim out of the policy of a tenant that has one. */
  #victimOf(tenant: Tenant): number {
    this.#held.tenants.size(tenant);
    return tenant.policy.evict();
  }

  /** Whether the layer below has the page now: it took it, or its copy was there. */
  #pushDown(slot: number, { account }: Tenant): boolean {
    if (this.#next === undefined) return false;
    if (this.isBelow(slot)) return true;
    const { index } = this.#held;
    const page = this.#pushed;
    this.#held.peek(slot, page);
    const { encoding, buffer, offset, length } = page;
    // The page is about to leave from here: below it must not count against the cap twice.
    const charge = this.#held.chargeOf(slot);
    account.usedBytes -= charge;
    const outcome = this.#next.put(
      index.poolOf(slot),
      index.objectOf(slot),
      index.indexOf(slot),
      encoding,
      buffer,
      offset,
      length,
    );
    account.usedBytes += charge;
    if (isRefused(outcome)) return false;
    this.#statistics.pushedDown++;
    return true;
  }

  /** Whether the page may vanish from here: it is ephemeral, or its copy is below. */
  #mayDrop(slot: number): boolean {
    return !this.#held.pages.isPersistent(slot) || this.isBelow(slot);
  }
}
