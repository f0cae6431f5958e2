/**
 * The index of a layer: from (pool, object, index) to a slot, a small integer under which the layer
 * keeps what it knows of the page in parallel typed arrays.
 *
 * As in Xen's tmem an object owns the table of its pages, so that "drop all of this object" costs
 * what the object holds and nothing else. Here the table is a hash table of chains: one head per
 * bucket, one row of three integers per page. Buckets are seeded, so that no client can choose
 * indexes that meet in one chain, and keep runs of pages next to each other.
 */

import { randomInt } from 'node:crypto';
import { getHeapStatistics } from 'node:v8';
import { IdTable } from './id-table.ts';

/** No such slot. */
export const NO_SLOT = -1;

/** Slots that there can be: a typed array has less than 2^32 elements, and a slot has three. */
export const SLOT_COUNT_MAX = 2 ** 30;

const ROW = 3; // page index, number of the object, next slot in the chain (or in the free list)
const FIRST_BUCKET_BITS = 3;
const BUCKET_BITS_MAX = 24;
const OBJECT_BYTES = 416; // what a TmemObject and its map entry take on the heap, about
/** Objects lie on V8's heap, and one that is full ends the process: two indexes leave a third of it. */
const HEAP_PART = 1 / 3;
/** Of V8's limit at most so much is for what is young, 48 MiB with Node 20; objects grow old. */
const YOUNG_BYTES_MAX = 192 * 1024 * 1024;
/** A Map can have no more entries. */
const MAP_SIZE_MAX = 2 ** 24;

/** An object of a pool: the owner of its pages' table. */
class TmemObject {
  readonly pool: number;
  readonly id: number;
  /** Its place in the index's list of objects. */
  readonly number: number;
  /** Mixed into the hashes of its pages. */
  readonly salt: number;
  heads: Int32Array;
  bits: number;
  count = 0;

  constructor(pool: number, id: number, number: number, salt: number) {
    this.pool = pool;
    this.id = id;
    this.number = number;
    this.salt = salt;
    this.bits = FIRST_BUCKET_BITS;
    this.heads = new Int32Array(1 << FIRST_BUCKET_BITS).fill(NO_SLOT);
  }
}

export class PageIndex {
  /** Slots are integers from 0 to this, exclusive. */
  readonly slotCountMax: number;
  /** Pages in the index. */
  count = 0;

  readonly #rows: Int32Array;
  readonly #pools = new IdTable<Map<number, TmemObject>>();
  readonly #objects: (TmemObject | undefined)[] = [];
  readonly #freeObjects: number[] = [];
  readonly #objectCountMax: number;
  readonly #seed: number;
  #freeSlot = NO_SLOT;
  #slotsTouched = 0;
  #tableBytes = 0;

  /**
   * Room for `slotCountMax` pages, at most SLOT_COUNT_MAX. The rows are mapped by the system as
   * they are first touched, so that room which is not used costs no memory.
   * `seed` spreads the indexes over the buckets; only a test or a replay chooses it.
   * `objectCountMax` is what V8's heap has room for; only a test chooses it.
   */
  constructor(
    slotCountMax: number,
    seed = randomInt(0, 2 ** 31),
    objectCountMax = objectCountMaxOfHeap(),
  ) {
    this.#seed = seed * 2 + 1;
    this.#objectCountMax = objectCountMax;
    this.slotCountMax = slotCountMax;
    this.#rows = new Int32Array(slotCountMax * ROW);
  }

  /** Bytes in use: rows up to the highest slot ever used, bucket tables, objects. */
  get metadataBytes(): number {
    return this.#slotsTouched * ROW * 4 + this.#tableBytes;
  }

  /** Slots that are used or were: the part of every parallel array that is in memory. */
  get slotsTouched(): number {
    return this.#slotsTouched;
  }

  /** Whether no further page can go in. */
  get isFull(): boolean {
    return this.#freeSlot === NO_SLOT && this.#slotsTouched === this.slotCountMax;
  }

  /** Whether the object has pages, or there may be one object more. */
  mayHave(pool: number, object: number): boolean {
    const objectCount = this.#objects.length - this.#freeObjects.length;
    return objectCount < this.#objectCountMax || this.#pools.get(pool)?.has(object) === true;
  }

  /** Whether the next page goes to a slot that was never used. */
  get isNextSlotFresh(): boolean {
    return this.#freeSlot === NO_SLOT;
  }

  createPool(pool: number): void {
    this.#pools.set(pool, new Map());
  }

  /** The page's slot, or NO_SLOT. */
  find(pool: number, object: number, index: number): number {
    const owner = this.#pools.get(pool)?.get(object);
    if (owner === undefined) return NO_SLOT;
    const rows = this.#rows;
    let slot = owner.heads[this.#bucket(owner, index)]!;
    const wanted = index | 0;
    while (slot !== NO_SLOT && rows[slot * ROW] !== wanted) slot = rows[slot * ROW + 2]!;
    return slot;
  }

  /** A slot for a page that is not in the index, or NO_SLOT when there is none left. */
  insert(pool: number, object: number, index: number): number {
    const objects = this.#pools.get(pool);
    if (objects === undefined) return NO_SLOT;
    const slot = this.#takeSlot();
    if (slot === NO_SLOT) return NO_SLOT;
    this.#rows[slot * ROW] = index;
    this.#link(slot, objects.get(object) ?? this.#createObject(objects, pool, object));
    this.count++;
    return slot;
  }

  /** Gives the page in `slot` to an object of another pool, which has no page of its index. */
  move(slot: number, pool: number, object: number): void {
    const objects = this.#pools.get(pool);
    if (objects === undefined) throw new Error(`page index: there is no pool ${pool}`);
    const from = this.#ownerOf(slot);
    this.#unlink(slot, from);
    this.#link(slot, objects.get(object) ?? this.#createObject(objects, pool, object));
    this.#fitObject(from);
  }

  /** Takes the page in `slot` out; the slot is free afterwards. */
  remove(slot: number): void {
    const rows = this.#rows;
    const owner = this.#ownerOf(slot);
    this.#unlink(slot, owner);
    rows[slot * ROW + 1] = -1;
    rows[slot * ROW + 2] = this.#freeSlot;
    this.#freeSlot = slot;
    this.count--;
    this.#fitObject(owner);
  }

  poolOf(slot: number): number {
    return this.#ownerOf(slot).pool;
  }

  objectOf(slot: number): number {
    return this.#ownerOf(slot).id;
  }

  indexOf(slot: number): number {
    return this.#rows[slot * ROW]! >>> 0;
  }

  /** A 32-bit hash of the page's name, for ghosts and samples. */
  hashOf(slot: number): number {
    const owner = this.#ownerOf(slot);
    let hash = Math.imul(this.#rows[slot * ROW]! ^ owner.salt, 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca77);
    return (hash ^ (hash >>> 13)) >>> 0;
  }

  /** Bytes by which `metadataBytes` would grow if that page, which is not in the index, went in. */
  growthFor(pool: number, object: number): number {
    return (this.#freeSlot === NO_SLOT ? ROW * 4 : 0) + this.moveGrowthFor(pool, object);
  }

  /** Bytes by which it would grow at most if a page of the index were moved to that object. */
  moveGrowthFor(pool: number, object: number): number {
    const owner = this.#pools.get(pool)?.get(object);
    if (owner === undefined) return OBJECT_BYTES + (4 << FIRST_BUCKET_BITS);
    return isCrowded(owner) ? owner.heads.byteLength : 0;
  }

  /** Every slot of the object, as of now. */
  slotsOf(pool: number, object: number): number[] {
    const owner = this.#pools.get(pool)?.get(object);
    const slots: number[] = [];
    if (owner !== undefined) this.#collect(owner, slots);
    return slots;
  }

  /** Every slot of the pool, as of now. */
  slotsOfPool(pool: number): number[] {
    const slots: number[] = [];
    for (const owner of this.#pools.get(pool)?.values() ?? []) this.#collect(owner, slots);
    return slots;
  }

  /** Objects of the pool that have pages. */
  objectsOf(pool: number): Iterable<number> {
    return this.#pools.get(pool)?.keys() ?? [];
  }

  /** Indexes of the object's pages, as of now, in no order. */
  indexesOf(pool: number, object: number): Uint32Array {
    const slots = this.slotsOf(pool, object);
    return Uint32Array.from(slots, (slot) => this.indexOf(slot));
  }

  /** Forgets an empty pool. */
  forgetPool(pool: number): void {
    this.#pools.delete(pool);
  }

  #link(slot: number, owner: TmemObject): void {
    if (isCrowded(owner)) this.#rehash(owner, owner.bits + 1);
    const row = slot * ROW;
    const bucket = this.#bucket(owner, this.#rows[row]!);
    this.#rows[row + 1] = owner.number;
    this.#rows[row + 2] = owner.heads[bucket]!;
    owner.heads[bucket] = slot;
    owner.count++;
  }

  #unlink(slot: number, owner: TmemObject): void {
    const rows = this.#rows;
    const bucket = this.#bucket(owner, rows[slot * ROW]!);
    const next = rows[slot * ROW + 2]!;
    let at = owner.heads[bucket]!;
    if (at === slot) {
      owner.heads[bucket] = next;
    } else {
      while (rows[at * ROW + 2] !== slot) at = rows[at * ROW + 2]!;
      rows[at * ROW + 2] = next;
    }
    owner.count--;
  }

  /** After a page left the object: fewer buckets, or none if it was the last. */
  #fitObject(owner: TmemObject): void {
    if (owner.count === 0) this.#forgetObject(owner);
    else if (isSparse(owner)) this.#rehash(owner, owner.bits - 1);
  }

  #collect(owner: TmemObject, slots: number[]): void {
    for (const head of owner.heads) {
      for (let slot = head; slot !== NO_SLOT; slot = this.#rows[slot * ROW + 2]!) slots.push(slot);
    }
  }

  #ownerOf(slot: number): TmemObject {
    const owner = this.#objects[this.#rows[slot * ROW + 1]!];
    if (owner === undefined) throw new Error(`page index: slot ${slot} is not in use`);
    return owner;
  }

  /**
   * Low bits keep runs of pages together; the high bits are spread by a seeded multiplication, of
   * which only the upper end depends on every bit of both factors.
   */
  #bucket(owner: TmemObject, index: number): number {
    const { bits } = owner;
    const spread = Math.imul(index >>> bits, this.#seed) >>> (32 - bits);
    return (index + spread) & ((1 << bits) - 1);
  }

  #takeSlot(): number {
    const slot = this.#freeSlot;
    if (slot !== NO_SLOT) {
      this.#freeSlot = this.#rows[slot * ROW + 2]!;
      return slot;
    }
    return this.#slotsTouched < this.slotCountMax ? this.#slotsTouched++ : NO_SLOT;
  }

  #createObject(objects: Map<number, TmemObject>, pool: number, id: number): TmemObject {
    const number = this.#freeObjects.pop() ?? this.#objects.length;
    const owner = new TmemObject(
      pool,
      id,
      number,
      Math.imul(id, this.#seed) ^ Math.imul(pool, 0x27d4eb2f),
    );
    this.#objects[number] = owner;
    objects.set(id, owner);
    this.#tableBytes += OBJECT_BYTES + owner.heads.byteLength;
    return owner;
  }

  #forgetObject(owner: TmemObject): void {
    this.#pools.get(owner.pool)?.delete(owner.id);
    this.#objects[owner.number] = undefined;
    this.#freeObjects.push(owner.number);
    this.#tableBytes -= OBJECT_BYTES + owner.heads.byteLength;
  }

  /** Gives the object another number of buckets, or leaves it as it is if memory is short. */
  #rehash(owner: TmemObject, bits: number): void {
    const rows = this.#rows;
    const old = owner.heads;
    const heads = allocateHeads(bits);
    if (heads === undefined) return;
    owner.bits = bits;
    owner.heads = heads;
    this.#tableBytes += heads.byteLength - old.byteLength;
    for (const head of old) {
      let slot = head;
      while (slot !== NO_SLOT) {
        const next = rows[slot * ROW + 2]!;
        const bucket = this.#bucket(owner, rows[slot * ROW]!);
        rows[slot * ROW + 2] = heads[bucket]!;
        heads[bucket] = slot;
        slot = next;
      }
    }
  }
}

function objectCountMaxOfHeap(): number {
  const heapBytes = getHeapStatistics().heap_size_limit;
  const oldBytes = Math.max(heapBytes - YOUNG_BYTES_MAX, heapBytes / 4);
  return Math.min(MAP_SIZE_MAX, Math.floor((oldBytes * HEAP_PART) / OBJECT_BYTES));
}

/** Whether one more page calls for twice the buckets: at most two meet in one on average. */
function isCrowded(owner: TmemObject): boolean {
  return owner.count >= owner.heads.length * 2 && owner.bits < BUCKET_BITS_MAX;
}

/** Whether half the buckets would do, with room before they are crowded again. */
function isSparse(owner: TmemObject): boolean {
  return owner.count * 2 < owner.heads.length && owner.bits > FIRST_BUCKET_BITS;
}

function allocateHeads(bits: number): Int32Array | undefined {
  try {
    return new Int32Array(1 << bits).fill(NO_SLOT);
  } catch (cause) {
    if (cause instanceof RangeError) return undefined;
    throw cause;
  }
}
