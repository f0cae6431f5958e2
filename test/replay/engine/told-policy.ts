/**
 * A policy of the simulator inside a real layer: told which page comes, so that its ghosts are
 * exact there too, and of a capacity of its own, since an account's cap is not the layer's limit.
 */

import type { EvictionPolicy, PolicyFactory } from '../../../src/policy/policy.ts';
import { createFamily, parsePolicy } from '../../../src/replay/engine/policy-specs.ts';

export class ToldPolicy {
  /** The page that the next insertion is of. */
  page = 0;
  readonly future: { nextUses: Int32Array; now: number };
  private readonly name: string;
  private readonly capacityBytes: number;
  private readonly pageCount: number;

  constructor(name: string, capacityBytes: number, pageCount: number, nextUses: Int32Array) {
    this.name = name;
    this.capacityBytes = capacityBytes;
    this.pageCount = pageCount;
    this.future = { nextUses, now: 0 };
  }

  readonly factory: PolicyFactory = ({ slotCount }) => {
    const pageOfSlot = new Int32Array(slotCount);
    const { capacityBytes, pageCount: keyCount } = this;
    const hashOf = (slot: number) => pageOfSlot[slot] ?? 0;
    const options = { slotCount, capacityBytes, hashOf, keyCount };
    const family = createFamily(parsePolicy(this.name), options, this.future);
    return {
      get metadataBytes() {
        return 0;
      },
      create: () => this.wrap(family.create(), pageOfSlot),
    };
  };

  private wrap(policy: EvictionPolicy, pageOfSlot: Int32Array): EvictionPolicy {
    let isExpected = false;
    return {
      name: policy.name,
      get count() {
        return policy.count;
      },
      get chargedBytes() {
        return policy.chargedBytes;
      },
      insert: (slot, charge) => {
        pageOfSlot[slot] = this.page;
        policy.insert(slot, charge, this.page);
        isExpected = false;
      },
      evict: () => {
        if (!isExpected) policy.expect?.(this.page);
        isExpected = true;
        return policy.evict();
      },
      touch: (slot) => policy.touch(slot),
      remove: (slot) => policy.remove(slot),
      setCapacity: () => {},
      release: () => policy.release(),
    };
  }
}
