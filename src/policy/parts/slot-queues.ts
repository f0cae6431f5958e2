/**
 * What policies made of queues have in common: which queue a slot is in, what it charges, and a
 * small mark (a counter, a bit) for each, in twelve bytes a slot that a family shares.
 */

import {
  assertCharge,
  type EvictionPolicy,
  type PolicyFamily,
  type PolicyOptions,
  throwSlotState,
} from '../policy.ts';
import { GhostMemory } from './ghost.ts';
import { SlotQueue } from './slot-queue.ts';

// A word for each slot: 20 bits of charge, 4 of queue, 8 of mark. A charge is never 0, so a word
// of 0 is a slot that is not resident.
const CHARGE_MASK = 0xf_ffff;
const QUEUE_SHIFT = 20;
const QUEUE_MASK = 0xf;
const MARK_SHIFT = 24;
const BELOW_MARK = 0xff_ffff;
const BYTES_PER_SLOT = 12;

/** What the policies of a family keep for every slot. */
export class SlotTable {
  readonly links: Int32Array;
  readonly words: Uint32Array;
  usedSlotCount = 0;

  constructor(slotCount: number) {
    this.links = new Int32Array(2 * slotCount);
    this.words = new Uint32Array(slotCount);
  }
}

/** A family of policies made of queues, and the memory of their ghosts. */
export class QueueFamily implements PolicyFamily {
  readonly options: PolicyOptions;
  readonly table: SlotTable;
  readonly ghosts = new GhostMemory();
  private readonly make: (family: QueueFamily) => EvictionPolicy;
  private readonly moreBytesPerSlot: number;

  /** `moreBytesPerSlot` is what the policy keeps for a slot besides. */
  constructor(
    options: PolicyOptions,
    make: (family: QueueFamily) => EvictionPolicy,
    moreBytesPerSlot = 0,
  ) {
    this.options = options;
    this.table = new SlotTable(options.slotCount);
    this.make = make;
    this.moreBytesPerSlot = moreBytesPerSlot;
  }

  get metadataBytes(): number {
    const slotBytes = this.table.usedSlotCount * (BYTES_PER_SLOT + this.moreBytesPerSlot);
    return slotBytes + this.ghosts.bytes;
  }

  useSlots(count: number): void {
    this.table.usedSlotCount = Math.max(this.table.usedSlotCount, count);
  }

  create(): EvictionPolicy {
    return this.make(this);
  }
}

/** The queues of one policy, each oldest to newest. */
export class SlotQueues {
  /** Resident slots, and the sum of their charges. */
  count = 0;
  chargedBytes = 0;
  readonly queues: readonly SlotQueue[];
  private readonly table: SlotTable;
  private readonly words: Uint32Array;

  /** Up to 16 queues. */
  constructor(table: SlotTable, queueCount: number) {
    this.table = table;
    this.words = table.words;
    this.queues = Array.from({ length: queueCount }, () => new SlotQueue(table.links));
  }

  /** Takes in a slot that is not resident, as the newest of a queue, with a mark of 0. */
  enter(slot: number, queue: number, charge: number): void {
    assertCharge(charge);
    if (this.words[slot] !== 0) throwSlotState('insert', slot);
    if (slot >= this.table.usedSlotCount) this.table.usedSlotCount = slot + 1;
    this.words[slot] = (queue << QUEUE_SHIFT) | charge;
    this.queues[queue]!.push(slot, charge);
    this.count++;
    this.chargedBytes += charge;
  }

  /** Lets a resident slot go. */
  leave(slot: number, event = 'remove'): void {
    const word = this.wordOf(slot, event);
    const charge = word & CHARGE_MASK;
    this.queues[(word >>> QUEUE_SHIFT) & QUEUE_MASK]!.remove(slot, charge);
    this.words[slot] = 0;
    this.count--;
    this.chargedBytes -= charge;
  }

  /** Makes a resident slot the newest of a queue, its own or another, with a mark. */
  move(slot: number, queue: number, mark = 0): void {
    const word = this.wordOf(slot, 'touch');
    const charge = word & CHARGE_MASK;
    this.queues[(word >>> QUEUE_SHIFT) & QUEUE_MASK]!.remove(slot, charge);
    this.queues[queue]!.push(slot, charge);
    this.words[slot] = ((mark << MARK_SHIFT) | (queue << QUEUE_SHIFT) | charge) >>> 0;
  }

  /** Queue of a resident slot; throws, naming the event, for any other slot. */
  queueOf(slot: number, event: string): number {
    return (this.wordOf(slot, event) >>> QUEUE_SHIFT) & QUEUE_MASK;
  }

  /** Mark of a resident slot, 0 to 255; throws, naming the event, for any other slot. */
  markOf(slot: number, event: string): number {
    return this.wordOf(slot, event) >>> MARK_SHIFT;
  }

  setMark(slot: number, mark: number): void {
    this.words[slot] = ((mark << MARK_SHIFT) | (this.words[slot]! & BELOW_MARK)) >>> 0;
  }

  /** What a resident slot charges, bytes. */
  chargeOf(slot: number): number {
    return this.words[slot]! & CHARGE_MASK;
  }

  /**
   * A capacity in pages as large as these are; what is counted in pages follows it. With pages
   * that charge 1 it is the capacity itself.
   */
  pagesIn(capacityBytes: number): number {
    return this.count === 0 ? 0 : Math.floor((capacityBytes * this.count) / this.chargedBytes);
  }

  private wordOf(slot: number, event: string): number {
    const word = this.words[slot];
    if (word === undefined || word === 0) throwSlotState(event, slot);
    return word;
  }
}
