/**
 * Memory for objects of many sizes, in slabs of one size, off the heap.
 *
 * A slab belongs to one size class and holds as many objects of that class as fit, so classes are
 * the quotients of the slab size: the waste behind the last object is a few bytes. Slabs lie in
 * arenas, a few large buffers; an arena without a used slab is given back to the system. An object
 * is named by its location, a 32-bit integer; whoever owns it is told when compaction moves it.
 *
 * Source: zsmalloc's size classes and compaction (Linux Documentation/mm/zsmalloc.rst), without its
 * objects that span two pages: in user space nothing forces 4 KiB frames.
 */

import type { ForgetMemory } from '../lib/forget-memory.ts';
import { PAGE_BYTES_MIN } from '../lib/page-bytes.ts';
import { Arena, ArenaExit } from './arena.ts';
import { OWNER_BYTES, type SizeClass, SizeClasses } from './size-classes.ts';
import { END, FREE, NO_OWNERS, Slab } from './slab.ts';

/** No object: the allocation was refused. */
export const NO_LOCATION = -1;

const OBJECT_BITS = 12;
const OBJECT_MASK = (1 << OBJECT_BITS) - 1;
/** Slabs that there can be: the other bits of a location name them. */
export const SLAB_COUNT_MAX = 2 ** (32 - OBJECT_BITS);
const PARTIAL_SCAN_MAX = 8;
/** What a slab takes on the heap, about. */
const SLAB_TABLE_BYTES = 128;

export interface SlabOptions {
  /** Bytes of a slab; a power of two, at least `objectBytesMax`. */
  readonly slabBytes: number;
  /** The largest object, bytes; a power of two. */
  readonly objectBytesMax: number;
  /**
   * Whether there is room for that many bytes more, data and metadata together; and of a slab that
   * got empty, whether its memory may be used again.
   */
  readonly hasRoom: (bytes: number) => boolean;
  /** Asked once for each slab that is wanted; one that may not be allocated is not. Default yes. */
  readonly mayAllocate?: (() => boolean) | undefined;
  /** Bytes of an arena; a multiple of the slab size. Default 32 MiB. */
  readonly arenaBytes?: number;
  /** Default SLAB_COUNT_MAX, which is the most. */
  readonly slabCountMax?: number;
  /** Gives memory back piece by piece; without it an arena goes as a whole, which takes longer. */
  readonly forget?: ForgetMemory | undefined;
}

export class Slabs {
  readonly slabBytes: number;
  /** Bytes of all slabs in use. */
  heldBytes = 0;
  /** Bytes of all objects in use, rounded up to their classes. */
  usedBytes = 0;
  /** What is freed goes back to the system, so that an empty arena has little left to give. */
  isGivingBack = false;

  readonly #options: SlabOptions;
  readonly #arenaBytes: number;
  readonly #slabCountMax: number;
  readonly #sizes: SizeClasses;
  readonly #classes: readonly SizeClass[];
  readonly #slabs: Slab[] = [];
  readonly #freeSlabs: number[] = [];
  readonly #arenas: Arena[] = [];
  readonly #exit = new ArenaExit();
  #ownerBytes = 0;

  constructor(options: SlabOptions) {
    this.#options = options;
    this.slabBytes = options.slabBytes;
    this.#arenaBytes = options.arenaBytes ?? 32 * 1024 * 1024;
    this.#slabCountMax = options.slabCountMax ?? SLAB_COUNT_MAX;
    this.#sizes = new SizeClasses(options.slabBytes, options.objectBytesMax);
    this.#classes = this.#sizes.all;
  }

  /** Bytes beside the slabs: tables on the heap (about), owners that are apart, arenas' tails. */
  get metadataBytes(): number {
    const tails = this.#arenas.length * this.#tailBytes();
    return this.#slabs.length * SLAB_TABLE_BYTES + this.#ownerBytes + tails;
  }

  /** The size of the object at `location`, rounded up to its class. */
  sizeAt(location: number): number {
    return this.#classes[this.#slabAt(location).sizeClass]!.objectBytes;
  }

  /** The size that an object of `bytes` takes. */
  sizeFor(bytes: number): number {
    return this.#classes[this.#sizes.numberFor(bytes)]!.objectBytes;
  }

  /** A place for an object of `bytes`, owned by `owner` (31 bits), or NO_LOCATION. */
  allocate(bytes: number, owner: number): number {
    const classNumber = this.#sizes.numberFor(bytes);
    let slabNumber = this.#fullestPartial(this.#classes[classNumber]!);
    if (slabNumber < 0) slabNumber = this.#takeSlab(classNumber);
    return slabNumber < 0 ? NO_LOCATION : this.#place(slabNumber, owner);
  }

  /** Gives the object at `location` back. */
  free(location: number): void {
    const slabNumber = location >>> OBJECT_BITS;
    const object = location & OBJECT_MASK;
    const slab = this.#slabAt(location);
    const sizeClass = this.#classes[slab.sizeClass]!;
    const at = slab.ownersBase + object;
    if (slab.arena === undefined || slab.owners[at]! >= FREE) throw new Error('slabs: double free');
    slab.owners[at] = (FREE | slab.freeHead) >>> 0;
    slab.freeHead = object;
    slab.liveCount--;
    sizeClass.freeCount++;
    this.usedBytes -= sizeClass.objectBytes;
    if (slab.liveCount === 0) this.#releaseSlab(slabNumber);
    else if (slab.partialPlace < 0) this.#listPartial(sizeClass, slabNumber);
  }

  /** Keeps the object where it is, with its slab, until it is unpinned as often as it was pinned. */
  pin(location: number): void {
    const slab = this.#slabAt(location);
    slab.pinCount++;
    slab.arena!.pinCount++;
  }

  unpin(location: number): void {
    const slab = this.#slabAt(location);
    slab.pinCount--;
    slab.arena!.pinCount--;
  }

  /** The buffer that the object lies in, for a decoder that takes offsets. */
  bufferAt(location: number): Buffer {
    return this.#slabAt(location).arena!.buffer;
  }

  /** Where in `bufferAt` the object begins. */
  offsetAt(location: number): number {
    const slab = this.#slabAt(location);
    const bytes = this.#classes[slab.sizeClass]!.objectBytes;
    return slab.baseOffset + (location & OBJECT_MASK) * bytes;
  }

  /** Copies a page of a power of two out, without making a view: through the arena's tail. */
  copyOut(location: number, length: number, dst: Buffer, dstOffset: number): void {
    const arena = this.#slabAt(location).arena!;
    const offset = this.offsetAt(location);
    const tail = arena.tail(length);
    arena.buffer.copyWithin(arena.tailOffset, offset, offset + length);
    dst.set(tail, dstOffset);
  }

  copyIn(location: number, src: Buffer, srcOffset: number, length: number): void {
    const whole = srcOffset === 0 && length === src.length;
    const bytes = whole ? src : src.subarray(srcOffset, srcOffset + length);
    this.bufferAt(location).set(bytes, this.offsetAt(location));
  }

  /**
   * Empties one slab into the holes of others of its class, if a class has a slab's worth of holes,
   * and gives it back. `moved(owner, location)` hears of every object's new place. Answers the
   * bytes given back: a slab's, or 0 when nothing is to be gained. One call moves less than a slab.
   */
  compact(moved: (owner: number, location: number) => void): number {
    for (const sizeClass of this.#classes) {
      if (sizeClass.freeCount < sizeClass.objectsPerSlab) continue;
      const source = this.#emptiestPartial(sizeClass);
      if (source < 0) continue;
      this.#emptySlab(sizeClass, source, moved);
      return this.slabBytes;
    }
    return 0;
  }

  /**
   * Takes at most `slabsMax` steps towards giving memory without a slab back to the system: frees a
   * frame, or moves a slab out of the sparsest arena, if the others have room for all of its slabs.
   * Answers whether there is a slab left to move.
   */
  releaseArenas(slabsMax: number): boolean {
    for (let moved = 0; moved < slabsMax; moved++) {
      if (this.#arenas.some((arena) => arena.forgetFrame(this.slabBytes, this.#options.forget)))
        continue;
      const sparse = this.#sparsestArena();
      if (sparse === undefined) return false;
      this.#moveSlab(sparse.anySlab, sparse);
    }
    return this.#sparsestArena() !== undefined;
  }

  /** The arena with the fewest slabs, if it can be emptied into the others. */
  #sparsestArena(): Arena | undefined {
    let sparsest: Arena | undefined;
    let spare = 0;
    for (const arena of this.#arenas) {
      spare += arena.freeFrames.length;
      if (arena.pinCount > 0) continue;
      if (sparsest === undefined || arena.usedFrameCount < sparsest.usedFrameCount)
        sparsest = arena;
    }
    if (sparsest === undefined) return undefined;
    return spare - sparsest.freeFrames.length >= sparsest.usedFrameCount ? sparsest : undefined;
  }

  /** Of the arenas with a free frame, the one with the fewest: the sparse ones may get empty. */
  #densestArena(besides?: Arena): Arena | undefined {
    let densest: Arena | undefined;
    for (const arena of this.#arenas) {
      const freeCount = arena.freeFrames.length;
      if (freeCount === 0 || arena === besides) continue;
      if (densest === undefined || freeCount < densest.freeFrames.length) densest = arena;
    }
    return densest;
  }

  #moveSlab(number: number, from: Arena): void {
    const slab = this.#slabs[number];
    const to = this.#densestArena(from);
    if (slab === undefined || to === undefined)
      throw new Error('slabs: no slab to move, or no room');
    const offset = to.takeFrame(number) * this.slabBytes;
    const bytes = from.buffer.subarray(slab.baseOffset, slab.baseOffset + this.slabBytes);
    to.buffer.set(bytes, offset);
    this.#freeFrame(from, slab.baseOffset);
    slab.arena = to;
    slab.baseOffset = offset;
    if (slab.owners === from.words) this.#ownersInside(slab, to);
  }

  #ownersInside(slab: Slab, arena: Arena): void {
    const { objectsPerSlab } = this.#classes[slab.sizeClass]!;
    slab.owners = arena.words;
    slab.ownersBase = (slab.baseOffset + this.slabBytes) / OWNER_BYTES - objectsPerSlab;
  }

  #slabAt(location: number): Slab {
    return this.#slabs[location >>> OBJECT_BITS]!;
  }

  #place(slabNumber: number, owner: number): number {
    const slab = this.#slabs[slabNumber]!;
    const sizeClass = this.#classes[slab.sizeClass]!;
    const object = slab.freeHead;
    const at = slab.ownersBase + object;
    slab.freeHead = slab.owners[at]! & OBJECT_MASK;
    slab.owners[at] = owner;
    slab.liveCount++;
    sizeClass.freeCount--;
    this.usedBytes += sizeClass.objectBytes;
    if (slab.freeHead === END) this.#unlistPartial(sizeClass, slabNumber);
    return ((slabNumber << OBJECT_BITS) | object) >>> 0;
  }

  /** A slab with room; among the first few, the fullest, so that the emptier ones drain. */
  #fullestPartial(sizeClass: SizeClass): number {
    let best = -1;
    let most = -1;
    const count = Math.min(sizeClass.partial.length, PARTIAL_SCAN_MAX);
    for (let i = 0; i < count; i++) {
      const number = sizeClass.partial[i]!;
      const live = this.#slabs[number]!.liveCount;
      if (live > most) {
        most = live;
        best = number;
      }
    }
    return best;
  }

  #emptiestPartial(sizeClass: SizeClass): number {
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const number of sizeClass.partial) {
      const { liveCount, pinCount } = this.#slabs[number]!;
      if (liveCount < least && pinCount === 0) {
        least = liveCount;
        best = number;
      }
    }
    return best;
  }

  #emptySlab(
    sizeClass: SizeClass,
    source: number,
    moved: (owner: number, location: number) => void,
  ): void {
    const slab = this.#slabs[source]!;
    this.#unlistPartial(sizeClass, source);
    for (let object = 0; object < sizeClass.objectsPerSlab; object++) {
      const owner = slab.owners[slab.ownersBase + object]!;
      if (owner >= FREE) continue;
      const target = this.#fullestPartial(sizeClass);
      if (target < 0) throw new Error('slabs: compaction found no hole');
      const from = slab.baseOffset + object * sizeClass.objectBytes;
      const to = this.#place(target, owner);
      const arena = this.#slabs[target]!.arena!;
      const bytes = slab.arena!.buffer.subarray(from, from + sizeClass.objectBytes);
      arena.buffer.set(bytes, this.offsetAt(to));
      slab.liveCount--;
      sizeClass.freeCount++;
      this.usedBytes -= sizeClass.objectBytes;
      moved(owner, to);
    }
    this.#releaseSlab(source);
  }

  /** A free slab for the class, or -1 when there are too many, or memory may not or can not grow. */
  #takeSlab(classNumber: number): number {
    if (this.#freeSlabs.length === 0 && this.#slabs.length >= this.#slabCountMax) return -1;
    const sizeClass = this.#classes[classNumber]!;
    const roomy = this.#densestArena();
    const tailBytes = roomy === undefined ? this.#tailBytes() : 0;
    const metadataBytes = SLAB_TABLE_BYTES + sizeClass.ownersApartBytes + tailBytes;
    const { hasRoom, mayAllocate } = this.#options;
    if (mayAllocate?.() === false || !hasRoom(this.slabBytes + metadataBytes)) return -1;
    const arena = roomy ?? this.#addArena();
    if (arena === undefined) return -1;
    const number = this.#freeSlabs.pop() ?? this.#slabs.push(new Slab()) - 1;
    this.#openSlab(number, classNumber, arena);
    sizeClass.freeCount += sizeClass.objectsPerSlab;
    this.#ownerBytes += sizeClass.ownersApartBytes;
    this.heldBytes += this.slabBytes;
    this.#listPartial(sizeClass, number);
    return number;
  }

  #openSlab(number: number, classNumber: number, arena: Arena): void {
    const slab = this.#slabs[number]!;
    const { objectsPerSlab, isOwnersInside } = this.#classes[classNumber]!;
    slab.sizeClass = classNumber;
    slab.arena = arena;
    slab.baseOffset = arena.takeFrame(number) * this.slabBytes;
    slab.liveCount = 0;
    slab.freeHead = 0;
    slab.ownersBase = 0;
    if (isOwnersInside) this.#ownersInside(slab, arena);
    else slab.owners = new Uint32Array(objectsPerSlab);
    for (let object = 0; object < objectsPerSlab; object++) {
      const next = object + 1 < objectsPerSlab ? object + 1 : END;
      slab.owners[slab.ownersBase + object] = (FREE | next) >>> 0;
    }
  }

  /** One more arena, or undefined when the system has no memory for it. */
  #addArena(): Arena | undefined {
    try {
      const arena = new Arena(this.#arenaBytes, this.slabBytes, this.#tailBytes());
      this.#arenas.push(arena);
      return arena;
    } catch (cause) {
      if (cause instanceof RangeError) return undefined;
      throw cause;
    }
  }

  #tailBytes(): number {
    return Math.max(PAGE_BYTES_MIN, this.#options.objectBytesMax);
  }

  #releaseSlab(number: number): void {
    const slab = this.#slabs[number]!;
    const sizeClass = this.#classes[slab.sizeClass]!;
    this.#unlistPartial(sizeClass, number);
    sizeClass.freeCount -= sizeClass.objectsPerSlab;
    this.heldBytes -= this.slabBytes;
    this.#freeFrame(slab.arena!, slab.baseOffset);
    slab.arena = undefined;
    this.#ownerBytes -= sizeClass.ownersApartBytes;
    slab.owners = NO_OWNERS;
    this.#freeSlabs.push(number);
  }

  #freeFrame(arena: Arena, offset: number): void {
    arena.freeFrame(offset / this.slabBytes);
    // What puts free while they come down to a lower limit is not to be used again either.
    const isKept = !this.isGivingBack && this.#options.hasRoom(this.slabBytes);
    if (!isKept) arena.forgetFrame(this.slabBytes, this.#options.forget);
    if (arena.usedFrameCount === 0) {
      this.#arenas.splice(this.#arenas.indexOf(arena), 1);
      arena.release(this.#exit);
    }
  }

  #listPartial(sizeClass: SizeClass, number: number): void {
    this.#slabs[number]!.partialPlace = sizeClass.partial.push(number) - 1;
  }

  #unlistPartial(sizeClass: SizeClass, number: number): void {
    const place = this.#slabs[number]!.partialPlace;
    if (place < 0) return;
    const last = sizeClass.partial.pop()!;
    if (last !== number) {
      sizeClass.partial[place] = last;
      this.#slabs[last]!.partialPlace = place;
    }
    this.#slabs[number]!.partialPlace = -1;
  }
}
