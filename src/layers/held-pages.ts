/**
 * The pages that a layer holds, in whatever form: the index that finds them, a row for each, the
 * slabs that their bytes lie in, the queues in which they wait to leave, and the limit of it all.
 *
 * A same-filled page is its four bytes, kept in its row. Ephemeral ones of that kind have a queue
 * of their own; other pages are in the eviction policy, unless the layer keeps persistent ones out.
 */

import type { ForgetMemory } from '../lib/forget-memory.ts';
import type { PolicyFactory, PolicyFamily } from '../policy/policy.ts';
import { Budget } from '../tmem/budget.ts';
import { IdTable } from '../tmem/id-table.ts';
import {
  type EncodedPage,
  type Encoding,
  FILLED,
  type LayerUsage,
  type PoolDescription,
  type PutOutcome,
  RAW,
  REFUSED_ALLOCATION,
  REFUSED_LIMIT,
  REFUSED_METADATA,
  STORED,
} from '../tmem/layer.ts';
import { NO_SLOT, PageIndex } from '../tmem/page-index.ts';
import { NO_LOCATION, Slabs } from '../tmem/slabs.ts';
import { FilledQueue } from './filled-queue.ts';
import { PageTable, ROW_BYTES } from './page-table.ts';
import { type Tenant, Tenants } from './tenants.ts';

/** A pool, and the one whose pages it holds. */
export interface HeldPool extends PoolDescription {
  readonly tenant: Tenant;
}

/** What every layer is given. */
export interface LayerOptions {
  /** Bytes that data and metadata together may take; hard. */
  readonly limitBytes: number;
  /** The largest page of any pool, bytes. */
  readonly pageBytesMax: number;
  readonly policy: PolicyFactory;
  /** Asked before every allocation of memory; a test makes it answer false. */
  readonly mayAllocate?: (() => boolean) | undefined;
  /** See `SlabOptions`. */
  readonly forget?: ForgetMemory | undefined;
  /**
   * What spreads the names of pages. It makes a replay the same each time; a service leaves it to
   * chance, so that nobody knows it.
   */
  readonly indexSeed?: number | undefined;
}

/** What a layer adds to that. */
export interface HeldPagesOptions extends LayerOptions {
  /** Pages that there can be. */
  readonly slotCount: number;
  readonly slabBytes: number;
  /** Ephemeral same-filled pages that there can be. */
  readonly filledCountMax: number;
  /** Whether persistent pages wait to leave as others do; else they stay until flushed. */
  readonly arePersistentQueued: boolean;
  /** Tries for room that one put may make. */
  readonly triesPerPutMax: number;
  /**
   * One step towards room for who asks, by a page or a slab; false when there is nothing left to
   * give up.
   */
  readonly makeRoom: (asking: Tenant | undefined) => boolean;
  /** Makes an account give up pages until it may take so many bytes more; false if it cannot. */
  readonly fitCap: (tenant: Tenant, bytes: number) => boolean;
  /** An ephemeral same-filled page is dropped, since there are as many as may be. */
  readonly filledEvicted: () => void;
  /** Frees the bytes of a page that leaves. */
  readonly freeLocation: (location: number) => void;
}

/** Metadata charged for each page, bytes: what a slot costs in all tables. */
export const PAGE_METADATA_BYTES = 44;

/** What same-filled pages may take of a layer's limit; and of an account's cap, once that is full. */
export const FILLED_SHARE = 0.05;

/** Same-filled pages, of whatever account, that are looked at for one of a certain account. */
const FILLED_LOOKS_MAX = 16;

/** What a slot that was never used before costs in the row, the policy and its ghosts, at most. */
const FRESH_SLOT_BYTES = ROW_BYTES + 16 + 32;

export class HeldPages {
  readonly index: PageIndex;
  readonly pages: PageTable;
  readonly slabs: Slabs;
  readonly tenants: Tenants;
  readonly budget: Budget<Tenant | undefined>;

  readonly #options: HeldPagesOptions;
  readonly #pools = new IdTable<HeldPool>();
  readonly #family: PolicyFamily;
  readonly #filledQueue: FilledQueue;
  /** A same-filled page's four bytes, while somebody peeks at them. */
  readonly #word = Buffer.alloc(4);
  #filledCount = 0;
  #rawCount = 0;
  #storedBytes = 0;
  #persistentBytes = 0;
  #persistentDataBytes = 0;

  constructor(options: HeldPagesOptions) {
    const { limitBytes, slotCount } = options;
    this.#options = options;
    this.index = new PageIndex(slotCount, options.indexSeed);
    this.pages = new PageTable(slotCount);
    this.#filledQueue = new FilledQueue(options.filledCountMax, this.pages);
    this.slabs = new Slabs({
      slabBytes: options.slabBytes,
      objectBytesMax: options.pageBytesMax,
      forget: options.forget,
      mayAllocate: options.mayAllocate,
      hasRoom: (bytes) => this.budget.allows(bytes),
    });
    this.#family = options.policy({
      slotCount,
      capacityBytes: limitBytes,
      hashOf: (slot) => this.index.hashOf(slot),
    });
    this.tenants = new Tenants(this.#family, limitBytes);
    this.budget = new Budget({
      limitBytes,
      usedBytes: () => this.slabs.heldBytes + this.#metadataBytes,
      makeRoom: options.makeRoom,
      triesMax: options.triesPerPutMax,
      pageBytes: (isSlotFresh) =>
        this.#filledQueue.growthBytes + (isSlotFresh ? FRESH_SLOT_BYTES : 0),
    });
  }

  createPool(pool: PoolDescription): void {
    this.#pools.set(pool.id, { ...pool, tenant: this.tenants.join(pool.account) });
    this.index.createPool(pool.id);
  }

  /** Forgets a pool that has no pages. */
  forgetPool(pool: number): void {
    this.index.forgetPool(pool);
    const tenant = this.#pools.get(pool)?.tenant;
    if (this.#pools.delete(pool) && tenant !== undefined) this.tenants.leave(tenant);
  }

  poolOf(pool: number): HeldPool | undefined {
    return this.#pools.get(pool);
  }

  /** Stores an encoded page that is not here, or says why not. */
  insert(
    pool: HeldPool,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome {
    if (this.#options.mayAllocate?.() === false) return REFUSED_ALLOCATION;
    const { tenant } = pool;
    const { account } = tenant;
    const charge = PAGE_METADATA_BYTES + (encoding === FILLED ? 0 : this.slabs.sizeFor(length));
    if (account.usedBytes + charge > account.capBytes && !this.#options.fitCap(tenant, charge)) {
      return REFUSED_LIMIT;
    }
    // For one object too many its account gives up a page, whose object may have no other.
    if (!this.index.mayHave(pool.id, object)) this.#options.fitCap(tenant, charge);
    const slot = this.budget.insert(tenant, this.index, pool.id, object, index);
    if (slot === NO_SLOT) return REFUSED_METADATA;
    this.#family.useSlots?.(this.index.slotsTouched);
    this.pages.enter(slot, encoding, length, pool.isPersistent);
    if (encoding === FILLED) {
      this.pages.setLocation(slot, src.readInt32LE(srcOffset));
      this.#filledCount++;
    } else {
      // The new slot is in no queue yet, so making room cannot evict it.
      const location = this.budget.allocate(tenant, this.slabs, length, slot);
      if (location === NO_LOCATION) {
        this.pages.leave(slot);
        this.index.remove(slot);
        return REFUSED_LIMIT;
      }
      this.slabs.copyIn(location, src, srcOffset, length);
      this.pages.setLocation(slot, location);
      this.#storedBytes += length;
      if (encoding === RAW) this.#rawCount++;
    }
    this.#charge(pool, charge);
    this.#queue(slot, tenant);
    return STORED;
  }

  /** Drops the page of that name; answers whether it was here. */
  dropNamed(pool: number, object: number, index: number): boolean {
    const slot = this.index.find(pool, object, index);
    if (slot !== NO_SLOT) this.drop(slot);
    return slot !== NO_SLOT;
  }

  /** Drops a page that may be in a queue. */
  drop(slot: number): void {
    this.#unqueue(slot, this.tenantOf(slot));
    this.release(slot);
  }

  /** Frees the page's memory and its slot; the policy must not know the slot any more. */
  release(slot: number): void {
    const { pages } = this;
    const encoding = pages.encodingOf(slot);
    this.#charge(this.#poolOfSlot(slot), -this.chargeOf(slot));
    if (encoding === FILLED) {
      this.#filledCount--;
    } else {
      this.#options.freeLocation(pages.locationOf(slot) >>> 0);
      this.#storedBytes -= pages.lengthOf(slot);
      if (encoding === RAW) this.#rawCount--;
    }
    pages.leave(slot);
    this.index.remove(slot);
  }

  /** Gives the page to another pool; false when there is no room for its name or its queue there. */
  move(slot: number, to: HeldPool, object: number): boolean {
    const { index, pages, budget } = this;
    if (!index.mayHave(to.id, object)) return false;
    const from = this.#poolOfSlot(slot);
    const isInPolicy = this.#isInPolicy(slot, from.isPersistent);
    const willBeInPolicy = this.#isInPolicy(slot, to.isPersistent);
    const queueBytes = willBeInPolicy || to.isPersistent ? 0 : this.#filledQueue.growthBytes;
    const hasRoom = budget.allows(index.moveGrowthFor(to.id, object) + queueBytes);
    const changesQueue =
      from.tenant !== to.tenant ||
      isInPolicy !== willBeInPolicy ||
      (!isInPolicy && from.isPersistent !== to.isPersistent);
    // Making room must not evict the very page.
    const isOut = changesQueue || (isInPolicy && !hasRoom);
    if (isOut) this.#unqueue(slot, from.tenant);
    const isMoved = hasRoom || budget.roomToMove(to.tenant, index, to.id, object, queueBytes);
    if (isMoved) {
      const charge = this.chargeOf(slot);
      this.#charge(from, -charge);
      this.#charge(to, charge);
      pages.setPersistent(slot, to.isPersistent);
      index.move(slot, to.id, object);
    }
    if (isOut) this.queue(slot);
    return isMoved;
  }

  /** Puts the page in the queue that it belongs in, if any. */
  queue(slot: number): void {
    this.#queue(slot, this.tenantOf(slot));
  }

  /** Whether, of an account at its cap, a same-filled page is to go before any other. */
  isFilledNext({ policy, filledCount, account }: Tenant): boolean {
    return (
      policy.count === 0 || filledCount * PAGE_METADATA_BYTES > FILLED_SHARE * account.capBytes
    );
  }

  /**
   * Drops about the oldest ephemeral same-filled page of the tenant; false when none is found. The
   * pages of others that are met on the way go to the end of the queue.
   */
  dropFilled(tenant: Tenant): boolean {
    for (let looks = FILLED_LOOKS_MAX; looks > 0 && tenant.filledCount > 0; looks--) {
      const slot = this.#filledQueue.takeOldest();
      if (slot === NO_SLOT) return false;
      if (this.tenantOf(slot) === tenant) {
        this.drop(slot);
        return true;
      }
      this.#filledQueue.append(slot);
    }
    return false;
  }

  tenantOf(slot: number): Tenant {
    return this.#poolOfSlot(slot).tenant;
  }

  /** What the page is charged for, bytes: its place in a slab, and metadata. */
  chargeOf(slot: number): number {
    if (this.pages.encodingOf(slot) === FILLED) return PAGE_METADATA_BYTES;
    return this.slabs.sizeAt(this.pages.locationOf(slot) >>> 0) + PAGE_METADATA_BYTES;
  }

  /** Points `page` at the bytes of the page in `slot`. */
  peek(slot: number, page: EncodedPage): void {
    const location = this.pages.locationOf(slot);
    page.encoding = this.pages.encodingOf(slot);
    if (page.encoding === FILLED) {
      this.#word.writeInt32LE(location);
      page.buffer = this.#word;
      page.offset = 0;
      page.length = 4;
      return;
    }
    page.buffer = this.slabs.bufferAt(location);
    page.offset = this.slabs.offsetAt(location);
    page.length = this.pages.lengthOf(slot);
  }

  /** Empties one slab into the holes of others, if there is one to gain; answers its bytes. */
  compact(): number {
    return this.slabs.compact(this.#moved);
  }

  setLimit(bytes: number): void {
    this.budget.limitBytes = bytes;
    this.tenants.setLimit(bytes);
  }

  usage(): LayerUsage {
    return {
      rawPages: this.#rawCount,
      compressedPages: this.index.count - this.#rawCount - this.#filledCount,
      filledPages: this.#filledCount,
      filledPagesMax: this.#options.filledCountMax,
      dataBytes: this.slabs.heldBytes,
      storedBytes: this.#storedBytes,
      metadataBytes: this.#metadataBytes,
      persistentBytes: this.#persistentBytes,
      freeableBytes: Math.max(0, this.slabs.heldBytes - this.#persistentDataBytes),
      limitBytes: this.budget.limitBytes,
    };
  }

  readonly #moved = (slot: number, location: number): void => {
    this.pages.setLocation(slot, location);
  };

  /** Bytes of every table that grows with the pages held. */
  get #metadataBytes(): number {
    return (
      this.index.metadataBytes +
      this.index.slotsTouched * ROW_BYTES +
      this.#family.metadataBytes +
      this.slabs.metadataBytes +
      this.#filledQueue.metadataBytes
    );
  }

  #poolOfSlot(slot: number): HeldPool {
    return this.#pools.get(this.index.poolOf(slot))!;
  }

  /** Charges the pool's account for a page, or for a page less where `bytes` is below 0. */
  #charge(pool: HeldPool, bytes: number): void {
    pool.tenant.charge(bytes);
    pool.usage?.charge(bytes);
    if (!pool.isPersistent) return;
    this.#persistentBytes += bytes;
    this.#persistentDataBytes += bytes - Math.sign(bytes) * PAGE_METADATA_BYTES;
  }

  /** Whether the page is, or would be if it were persistent or not, among a policy's. */
  #isInPolicy(slot: number, isPersistent: boolean): boolean {
    if (this.pages.encodingOf(slot) === FILLED) return false;
    return !isPersistent || this.#options.arePersistentQueued;
  }

  #queue(slot: number, tenant: Tenant): void {
    const isPersistent = this.pages.isPersistent(slot);
    if (this.#isInPolicy(slot, isPersistent)) {
      this.tenants.size(tenant);
      tenant.policy.insert(slot, this.chargeOf(slot), this.index.hashOf(slot));
    } else if (!isPersistent) {
      this.#queueFilled(slot, tenant);
    }
  }

  #unqueue(slot: number, tenant: Tenant): void {
    const isPersistent = this.pages.isPersistent(slot);
    if (this.#isInPolicy(slot, isPersistent)) {
      tenant.policy.remove(slot);
    } else if (!isPersistent) {
      this.#filledQueue.left();
      tenant.filledCount--;
    }
  }

  /** Queues a same-filled page; when its kind is at its cap the oldest goes. */
  #queueFilled(slot: number, tenant: Tenant): void {
    tenant.filledCount++;
    const victim = this.#filledQueue.push(slot);
    if (victim === NO_SLOT) return;
    this.drop(victim);
    this.#options.filledEvicted();
  }
}
