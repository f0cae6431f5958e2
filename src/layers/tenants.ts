/**
 * The accounts that share a layer, and who of them gives when room is needed.
 *
 * Whoever is above its cap gives first; else whoever is furthest above its share, which is its
 * weight's part of all that is charged here. So an account with unused share lends it to the others
 * and gets it back as it needs it. An account with no more than its minimum gives nothing to others
 * while they have more than theirs.
 */

import type { EvictionPolicy, PolicyFamily } from '../policy/policy.ts';
import type { Account } from '../tmem/account.ts';

/** What one account has in one layer. */
export class Tenant {
  readonly account: Account;
  /** Orders its pages in this layer. */
  readonly policy: EvictionPolicy;
  /** Bytes charged for its pages in this layer. */
  usedBytes = 0;
  /** Its ephemeral same-filled pages in this layer, which the policy does not know. */
  filledCount = 0;
  poolCount = 0;
  /** The round of choices in which it turned out to have nothing to give. */
  stuckRound = 0;

  constructor(account: Account, policy: EvictionPolicy) {
    this.account = account;
    this.policy = policy;
  }

  /** One more page of so many bytes, or one less where that is below 0. */
  charge(bytes: number): void {
    this.usedBytes += bytes;
    this.account.charge(bytes);
  }

  /** Whether any of its pages waits to leave. */
  get hasQueued(): boolean {
    return this.policy.count > 0 || this.filledCount > 0;
  }

  get isAboveCap(): boolean {
    return this.account.usedBytes > this.account.capBytes;
  }

  get isAboveMinimum(): boolean {
    return this.account.usedBytes > this.account.minimumBytes;
  }
}

/** With more accounts a choice holds for some victims, so that choosing stays cheap. */
const TENANTS_PER_CHOICE = 16;

export class Tenants {
  readonly #family: PolicyFamily;
  readonly #tenants: Tenant[] = [];
  #limitBytes: number;
  #chosen: Tenant | undefined;
  /** Who asked for the choice that still holds, and for how many victims more. */
  #chosenFor: Tenant | undefined;
  #choicesLeft = 0;
  #round = 1;
  #isAnyStuck = false;
  #owing: Tenant | undefined;
  /** Where the last one is that `aboveCap` answered. */
  #capTurn = 0;

  /** `limitBytes` is the layer's, and the capacity of the family's policies. */
  constructor(family: PolicyFamily, limitBytes: number) {
    this.#family = family;
    this.#limitBytes = limitBytes;
  }

  get count(): number {
    return this.#tenants.length;
  }

  /** A pool of the account was made. */
  join(account: Account): Tenant {
    let tenant = this.#tenants.find((each) => each.account === account);
    if (tenant === undefined) {
      tenant = new Tenant(account, this.#family.create());
      tenant.policy.setCapacity(this.#limitBytes);
      this.#tenants.push(tenant);
      this.#choicesLeft = 0;
    }
    tenant.poolCount++;
    return tenant;
  }

  /** A pool of the tenant is gone; with the last one so is the tenant. */
  leave(tenant: Tenant): void {
    if (--tenant.poolCount > 0) return;
    this.#tenants.splice(this.#tenants.indexOf(tenant), 1);
    this.#choicesLeft = 0;
    this.#chosen = undefined;
    this.#owing = undefined;
    this.#chosenFor = undefined;
    tenant.policy.release();
    this.setLimit(this.#limitBytes);
  }

  setLimit(bytes: number): void {
    this.#limitBytes = bytes;
    const [only, second] = this.#tenants;
    if (only !== undefined && second === undefined) only.policy.setCapacity(bytes);
  }

  /**
   * Before the tenant's policy takes a page in or chooses one: alone it may fill the layer; among
   * others its queues are shares of what it holds.
   */
  size(tenant: Tenant): void {
    if (this.#tenants.length > 1) tenant.policy.setCapacity(tenant.policy.chargedBytes);
  }

  /**
   * Who gives a page next, or undefined when nobody may: `asking` needs the room, or nobody in
   * particular. Nobody is chosen who has turned out to have nothing to give.
   */
  choose(asking: Tenant | undefined): Tenant | undefined {
    const { length } = this.#tenants;
    const chosen = this.#chosen;
    const skipsStuck = this.isAnyStuck;
    if (this.#choicesLeft > 0 && asking === this.#chosenFor && !skipsStuck) {
      this.#choicesLeft--;
      if (chosen !== undefined && chosen.policy.count > 0) return chosen;
    }
    const next = this.#furthestAbove(asking, skipsStuck);
    this.#chosen = skipsStuck ? undefined : next;
    this.#chosenFor = asking;
    this.#choicesLeft = Math.floor(length / TENANTS_PER_CHOICE);
    return next;
  }

  /**
   * One that is above its cap and has pages that wait to leave, or undefined. They take turns: one
   * whose pages may not go must not keep the others from giving.
   */
  aboveCap(): Tenant | undefined {
    const { length } = this.#tenants;
    for (let i = 0; i < length; i++) {
      this.#capTurn = (this.#capTurn + 1) % length;
      const tenant = this.#tenants[this.#capTurn];
      if (tenant?.isAboveCap && tenant.hasQueued) return tenant;
    }
    return undefined;
  }

  /** The tenant has nothing to give now: it is skipped until `forgetStuck`. */
  noteStuck(tenant: Tenant): void {
    tenant.stuckRound = this.#round;
    this.#isAnyStuck = true;
  }

  forgetStuck(): void {
    if (!this.#isAnyStuck) return;
    this.#isAnyStuck = false;
    this.#round++;
  }

  /**
   * Who would have been chosen at the last choice, had it anything here that may leave; undefined when
   * whoever was chosen was first.
   */
  get owing(): Tenant | undefined {
    return this.#owing;
  }

  get isAnyStuck(): boolean {
    return this.#isAnyStuck;
  }

  #furthestAbove(asking: Tenant | undefined, skipsStuck: boolean): Tenant | undefined {
    let chargedBytes = 0;
    let weights = 0;
    for (const { usedBytes, account } of this.#tenants) {
      chargedBytes += usedBytes;
      if (usedBytes > 0) weights += account.weight;
    }
    const bytesPerWeight = chargedBytes / weights;
    // One that is stuck now may have more than its minimum, and give later.
    const mayTakeMinimum = asking === undefined ? !skipsStuck : !asking.isAboveMinimum;
    let furthest: Tenant | undefined;
    let rank = 0;
    let excess = 0;
    let most: Tenant | undefined; // of all, also of those of whose pages none may leave
    let mostRank = 0;
    let mostExcess = 0;
    for (const tenant of this.#tenants) {
      const { account, usedBytes } = tenant;
      const hasGivable = tenant.policy.count > 0;
      if (usedBytes === 0) continue;
      if (skipsStuck && tenant.stuckRound === this.#round) continue;
      const { isAboveCap } = tenant;
      if (!tenant.isAboveMinimum && !mayTakeMinimum) continue;
      const ownRank = isAboveCap ? 2 : tenant.isAboveMinimum ? 1 : 0;
      const ownExcess = isAboveCap
        ? account.usedBytes - account.capBytes
        : usedBytes - account.weight * bytesPerWeight;
      if (most === undefined || isFurther(ownRank, ownExcess, mostRank, mostExcess)) {
        most = tenant;
        mostRank = ownRank;
        mostExcess = ownExcess;
      }
      if (!hasGivable) continue;
      if (furthest !== undefined && !isFurther(ownRank, ownExcess, rank, excess)) continue;
      furthest = tenant;
      rank = ownRank;
      excess = ownExcess;
    }
    this.#owing = most === furthest ? undefined : most;
    return furthest;
  }
}

/** Whether one is nearer to giving than another: by its rank, and by its excess among equals. */
function isFurther(rank: number, excess: number, otherRank: number, otherExcess: number): boolean {
  return rank > otherRank || (rank === otherRank && excess > otherExcess);
}
