/**
 * A shadow: a policy of the live cache that is told of a sample of the pages, in a cache that is as
 * much smaller, with nothing behind it. Waldspurger, Saemundsson, Ahmad and Park, "Cache modeling and
 * optimization using miniature simulations" (ATC'17).
 */

import type { PolicyName } from '../policy/policies.ts';
import type { EvictionPolicy, PolicyFamily } from '../policy/policy.ts';
import { SampledPages } from './sampled-pages.ts';
import { policyBytesFor, shadowFactoryFor } from './shadow-policies.ts';

/** Disjoint parts of the sample that are counted apart; `bandOf` is made for four. */
export const CLASSES = 4;

/** Every page charges the same: what pages take is in the capacity. */
const CHARGE = 1;

export class Shadow {
  readonly policyName: PolicyName;
  /** References that missed, by class: those of all pages, by estimate, in weights of `read`. */
  readonly misses = new Float64Array(CLASSES);
  /** Whether a page ever had to leave for another. */
  hasEvicted = false;
  readonly pages: SampledPages;
  private readonly family: PolicyFamily;
  private readonly slotCount: number;
  private policy: EvictionPolicy;
  private capacity = 1;
  private expects = false;
  private maySpill = false;

  /** Of at most `slotCount` pages, a power of two. */
  constructor(policyName: PolicyName, slotCount: number) {
    this.policyName = policyName;
    this.slotCount = slotCount;
    this.pages = new SampledPages(slotCount);
    this.family = shadowFactoryFor(policyName)({
      slotCount,
      capacityBytes: this.capacity,
      hashOf: (slot) => this.pages.hashOf(slot),
    });
    this.policy = this.begin();
  }

  /** Bytes that a shadow of so many pages takes at most. */
  static bytesFor(policyName: PolicyName, slotCount: number): number {
    return SampledPages.bytesFor(slotCount) + policyBytesFor(policyName, slotCount);
  }

  /** Bytes of what the policy knows; beside them there are those of `SampledPages`. */
  get policyBytes(): number {
    return this.family.metadataBytes;
  }

  /** Pages that it holds at most now. */
  get capacityPages(): number {
    return this.capacity;
  }

  /** Sets how many pages it may hold; fewer than it has leave with the next that comes. */
  setCapacity(pages: number): void {
    this.capacity = Math.max(1, Math.min(this.slotCount, Math.round(pages)));
    this.policy.setCapacity(this.capacity);
  }

  /** The page was read, which stands for `weight` reads of pages of this class. */
  read(page: number, hash: number, weight: number, classIndex: number): void {
    const { policy } = this;
    const slot = this.pages.find(hash);
    if (slot === -1) {
      this.misses[classIndex]! += weight;
      this.enter(page, hash);
      return;
    }
    policy.touch(slot);
    if (this.maySpill) while (policy.surplusBytes! > 0 && this.evict()) {}
  }

  /** The page was written: what was there is replaced, as by a page that was not there. */
  write(page: number, hash: number): void {
    this.drop(hash);
    this.enter(page, hash);
  }

  /** The page leaves the cache. */
  drop(hash: number): void {
    const slot = this.pages.find(hash);
    if (slot !== -1) this.leave(slot);
  }

  /** Lets all pages go whose hash is not below `threshold`: they are in the sample no more. */
  keepBelow(threshold: number): void {
    for (let slot = 0; slot < this.pages.slotsEnd; slot++) {
      if (this.pages.pageOf(slot) === -1 || this.pages.hashOf(slot) < threshold) continue;
      this.leave(slot);
    }
  }

  /** Begins anew, with nothing counted. */
  clear(): void {
    this.keepBelow(0);
    this.policy.release();
    this.policy = this.begin();
    this.misses.fill(0);
    this.hasEvicted = false;
  }

  /** Halves what was counted. */
  halve(): void {
    for (let i = 0; i < CLASSES; i++) this.misses[i]! /= 2;
  }

  private begin(): EvictionPolicy {
    const policy = this.family.create();
    policy.setCapacity(this.capacity);
    this.expects = policy.expect !== undefined;
    this.maySpill = policy.surplusBytes !== undefined;
    return policy;
  }

  private enter(page: number, hash: number): void {
    const { policy, pages } = this;
    if (this.expects) policy.expect!(hash);
    while (pages.count >= this.capacity && this.evict()) {}
    policy.insert(pages.add(page, hash), CHARGE, hash);
  }

  private evict(): boolean {
    const slot = this.policy.evict();
    if (slot === -1) return false;
    this.pages.remove(slot);
    this.hasEvicted = true;
    return true;
  }

  private leave(slot: number): void {
    this.policy.remove(slot);
    this.pages.remove(slot);
  }
}
