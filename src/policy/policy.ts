/**
 * The eviction policy seam: which page leaves next. A policy knows slots, charges and hashes,
 * never pages; the layer that owns the slots owns the bytes and does what the policy says.
 *
 * Where several accounts share a layer each has a policy of its own. They are one family: what a
 * policy keeps for a slot lies in arrays that the family shares, since a slot is in one of them.
 */

/** The highest charge a policy takes for one page: 20 bits, room for a 64 KiB page many times. */
export const MAX_CHARGE_BYTES = 0xf_ffff;

/**
 * Orders the resident pages of one account in one layer. Slots are integers in `[0, slotCount)`;
 * a charge is in `[1, MAX_CHARGE_BYTES]` bytes and includes the metadata the page costs. No method
 * allocates but to let what it remembers grow. A call that breaks the order of events (touching a
 * slot that is not resident, inserting one that is) throws a plain Error, since it means that the
 * layer and its policy disagree.
 */
export interface EvictionPolicy {
  readonly name: string;
  /** A page enters in `slot`; `keyHash` is a u32 hash of its identity, the key of its ghost. */
  insert(slot: number, charge: number, keyHash: number): void;
  /** A hit on the page in `slot`. */
  touch(slot: number): void;
  /** The page in `slot` left for another reason than eviction (flush, replace, promote). */
  remove(slot: number): void;
  /**
   * Chooses the next victim and takes it out of the queues, recording a ghost where the policy
   * has them; -1 when nothing is resident. Bounded work, however many pages are resident.
   */
  evict(): number;
  /** Resident pages in the queues. */
  readonly count: number;
  /** Sum of the charges of the resident pages. */
  readonly chargedBytes: number;
  /**
   * Capacity in charged bytes: sizes the shares of the queues, and may change at run time. It
   * evicts nothing by itself; the layer calls `evict` until it is satisfied.
   */
  setCapacity(bytes: number): void;
  /** Gives back what it remembers. No page may be resident; the policy is not used again. */
  release(): void;
  /**
   * The page of that hash is the next to be inserted, and evictions until then make room for it.
   * Simulations say so before every miss; a layer that does not know yet need not.
   */
  expect?(keyHash: number): void;
  /** Pages inserted so far of which it had a ghost, where it has ghosts. */
  readonly ghostHitCount?: number;
  /**
   * Bytes that should be evicted without waiting for need, where hits push pages out. Simulations
   * do it at once; a layer may leave them until it needs room.
   */
  readonly surplusBytes?: number;
}

/** The policies of one layer. */
export interface PolicyFamily {
  /** Bytes of metadata of all of them: touched parts of the arrays they share, and ghosts. */
  readonly metadataBytes: number;
  /** One more policy over the same slots. A slot may be resident in one policy at a time. */
  create(): EvictionPolicy;
  /**
   * Slots below `count` have been used, be it for pages that no policy has: their part of the
   * arrays counts from now on, so that it does not come all at once when one of them enters.
   */
  useSlots?(count: number): void;
}

/** What a layer tells the family of its policies when it makes one. */
export interface PolicyOptions {
  /** One more than the highest slot number. Arrays are reserved for all, touched as used. */
  readonly slotCount: number;
  /** The first capacity of every policy, as in `setCapacity`. */
  readonly capacityBytes: number;
  /**
   * The hash that `insert` was given for the page now in `slot`. Most ask for it during `evict`,
   * about the victim only; it saves every policy four bytes a page.
   */
  readonly hashOf: (slot: number) => number;
  /**
   * Given in simulations: hashes are dense numbers below this. Then ghosts are exact, time is
   * counted exactly, and no sweep has a limit, so that a policy does what its paper says.
   */
  readonly keyCount?: number;
}

/** Makes the family of one layer's policies. */
export type PolicyFactory = (options: PolicyOptions) => PolicyFamily;

/** Used pages that one `evict` passes in each queue before it settles for what it finds. */
const SWEEP_LIMIT = 512;

/** The same for the policies of these options: in simulations there is no limit. */
export function sweepLimitOf(options: PolicyOptions): number {
  return options.keyCount === undefined ? SWEEP_LIMIT : Infinity;
}

/** Throws unless a policy can account for the charge. */
export function assertCharge(charge: number): void {
  if (!(charge >= 1 && charge <= MAX_CHARGE_BYTES)) {
    throw new Error(`a charge of ${charge} bytes is outside 1..${MAX_CHARGE_BYTES}`);
  }
}

/** Throws for a slot that is not in the state that an event needs. */
export function throwSlotState(event: string, slot: number): never {
  throw new Error(`policy: ${event} of slot ${slot}, which is in the wrong state or out of range`);
}
