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

/** No object: the allocation was refused. */
export const NO_LOCATION = -1;

const OBJECT_BITS = 12; // objects per slab, at most 4096
const OBJECT_MASK = (1 << OBJECT_BITS) - 1;
const CLASS_STEP_BYTES = 16;
const FREE = 0x80000000; // in `owners`: free, and the low bits name the next free object
const END = OBJECT_MASK;
const PARTIAL_SCAN_MAX = 8;
const SLAB_TABLE_BYTES = 200;
const CLASS_COUNT_MAX = 255;

export interface SlabOptions {
  /** Bytes of a slab; a power of two, at least twice `objectBytesMax` or equal to it. */
  readonly slabBytes: number;
  /** The largest object, bytes. */
  readonly objectBytesMax: number;
  /** Asked before memory grows by that many bytes. */
  readonly mayGrow: (bytes: number) => boolean;
  /** Bytes of an arena; a multiple of the slab size. Default 32 MiB. */
  readonly arenaBytes?: number;
}

/** One buffer that slabs are cut from. Its tail is a page to copy through; see `copyOut`. */
class Arena {
  readonly buffer: Buffer;
  readonly tailOffset: number;
  readonly freeFrames: number[] = [];
  readonly frameCount: number;
  readonly #tails: Buffer[] = [];

  constructor(bytes: number, slabBytes: number, tailBytes: number) {
    this.frameCount = bytes / slabBytes;
    // A fresh allocation of this size comes from the system and is mapped as it is touched.
    this.buffer = Buffer.from(new ArrayBuffer(bytes + tailBytes));
    this.tailOffset = bytes;
    for (let frame = this.frameCount - 1; frame >= 0; frame--) this.freeFrames.push(frame);
    for (let length = 4096; length <= tailBytes; length *= 2) {
      this.#tails[Math.log2(length)] = this.buffer.subarray(bytes, bytes + length);
    }
  }

  /** The tail as a view of exactly that power of two; made once, so that a copy allocates nothing. */
  tail(length: number): Buffer | undefined {
    return this.#tails[31 - Math.clz32(length)];
  }
}

/** One slab: where it lies, what it holds. */
class Slab {
  sizeClass = 0;
  arena: Arena | undefined;
  frame = 0;
  baseOffset = 0;
  liveCount = 0;
  freeHead = END;
  /** By object: its owner, or FREE and the next free object. */
  owners: Uint32Array = new Uint32Array(0);
  /** Place in its class's list of slabs with room, or -1. */
  partialPlace = -1;
}

interface SizeClass {
  readonly objectBytes: number;
  readonly objectsPerSlab: number;
  /** Numbers of the slabs that have room and hold something. */
  readonly partial: number[];
  freeCount: number;
}

export class Slabs {
  readonly slabBytes: number;
  /** Bytes of all slabs in use. */
  heldBytes = 0;
  /** Bytes of all objects in use, rounded up to their classes. */
  usedBytes = 0;

  readonly #options: SlabOptions;
  readonly #arenaBytes: number;
  readonly #classes: SizeClass[] = [];
  readonly #classOfStep: Uint8Array;
  readonly #slabs: Slab[] = [];
  readonly #freeSlabs: number[] = [];
  readonly #arenas: Arena[] = [];
  #ownerBytes = 0;

  constructor(options: SlabOptions) {
    this.#options = options;
    this.slabBytes = options.slabBytes;
    this.#arenaBytes = options.arenaBytes ?? 32 * 1024 * 1024;
    this.#classOfStep = this.#makeClasses(options.objectBytesMax);
  }

  /** Bytes beside the slabs: owners of objects, tables on the heap (about), arenas' tails. */
  get metadataBytes(): number {
    const tails = this.#arenas.length * this.#tailBytes();
    return this.#slabs.length * SLAB_TABLE_BYTES + this.#ownerBytes + tails;
  }

  /** Bytes an object of that many bytes takes. */
  sizeFor(bytes: number): number {
    return this.#classFor(bytes).objectBytes;
  }

  /** The size of the object at `location`, rounded up to its class. */
  sizeAt(location: number): number {
    return this.#classes[this.#slabAt(location).sizeClass]!.objectBytes;
  }

  /** A place for an object of `bytes`, owned by `owner` (31 bits), or NO_LOCATION. */
  allocate(bytes: number, owner: number): number {
    const classNumber = this.#classOfStep[Math.ceil(bytes / CLASS_STEP_BYTES)]!;
    const sizeClass = this.#classes[classNumber]!;
    let slabNumber = this.#fullestPartial(sizeClass);
    if (slabNumber < 0) {
      slabNumber = this.#takeSlab(classNumber);
      if (slabNumber < 0) return NO_LOCATION;
    }
    return this.#place(slabNumber, owner);
  }

  /** Gives the object at `location` back. */
  free(location: number): void {
    const slabNumber = location >>> OBJECT_BITS;
    const object = location & OBJECT_MASK;
    const slab = this.#slabAt(location);
    const sizeClass = this.#classes[slab.sizeClass]!;
    if (slab.owners[object]! >= FREE) throw new Error('slabs: double free');
    slab.owners[object] = (FREE | slab.freeHead) >>> 0;
    slab.freeHead = object;
    slab.liveCount--;
    sizeClass.freeCount++;
    this.usedBytes -= sizeClass.objectBytes;
    if (slab.liveCount === 0) this.#releaseSlab(slabNumber);
    else if (slab.partialPlace < 0) this.#listPartial(sizeClass, slabNumber);
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
    if (tail === undefined) throw new Error(`slabs: ${length} is not a page size`);
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
   * bytes given back: a slab's, or 0 when nothing is to be gained. One call moves at most the
   * objects of half a slab.
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

  /** Moves slabs out of sparse arenas so that whole arenas go back to the system. */
  releaseArenas(): void {
    const arenas = [...this.#arenas].sort((a, b) => a.freeFrames.length - b.freeFrames.length);
    let spare = 0;
    for (const arena of arenas) spare += arena.freeFrames.length;
    for (const sparse of arenas.reverse()) {
      const used = sparse.frameCount - sparse.freeFrames.length;
      spare -= sparse.freeFrames.length;
      if (used > spare) return;
      for (const slab of this.#slabs) if (slab.arena === sparse) this.#moveSlab(slab, sparse);
      spare -= used;
    }
  }

  #moveSlab(slab: Slab, from: Arena): void {
    const to = this.#arenas.find((arena) => arena !== from && arena.freeFrames.length > 0);
    if (to === undefined) return;
    const frame = to.freeFrames.pop()!;
    const bytes = from.buffer.subarray(slab.baseOffset, slab.baseOffset + this.slabBytes);
    to.buffer.set(bytes, frame * this.slabBytes);
    this.#freeFrame(from, slab.frame);
    slab.arena = to;
    slab.frame = frame;
    slab.baseOffset = frame * this.slabBytes;
  }

  #slabAt(location: number): Slab {
    return this.#slabs[location >>> OBJECT_BITS]!;
  }

  #classFor(bytes: number): SizeClass {
    return this.#classes[this.#classOfStep[Math.ceil(bytes / CLASS_STEP_BYTES)]!]!;
  }

  /** Classes from the largest down: as many objects per slab as fit, steps of at least 16 bytes. */
  #makeClasses(objectBytesMax: number): Uint8Array {
    const perSlabMax = Math.min(END, this.slabBytes / 64);
    const steps = new Uint8Array(objectBytesMax / CLASS_STEP_BYTES + 1);
    let above = Number.POSITIVE_INFINITY;
    for (let n = Math.floor(this.slabBytes / objectBytesMax); n <= perSlabMax; n++) {
      const fit = Math.floor(this.slabBytes / n / CLASS_STEP_BYTES) * CLASS_STEP_BYTES;
      const objectBytes = Math.min(fit, objectBytesMax);
      if (above - objectBytes < Math.max(CLASS_STEP_BYTES, objectBytes / 64)) continue;
      above = objectBytes;
      const objectsPerSlab = Math.floor(this.slabBytes / objectBytes);
      this.#classes.push({ objectBytes, objectsPerSlab, partial: [], freeCount: 0 });
    }
    if (this.#classes.length > CLASS_COUNT_MAX) throw new Error('slabs: too many size classes');
    let at = this.#classes.length - 1;
    for (let step = 0; step < steps.length; step++) {
      while (this.#classes[at]!.objectBytes < step * CLASS_STEP_BYTES) at--;
      steps[step] = at;
    }
    return steps;
  }

  #place(slabNumber: number, owner: number): number {
    const slab = this.#slabs[slabNumber]!;
    const sizeClass = this.#classes[slab.sizeClass]!;
    const object = slab.freeHead;
    slab.freeHead = slab.owners[object]! & OBJECT_MASK;
    slab.owners[object] = owner;
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
      const live = this.#slabs[number]!.liveCount;
      if (live < least) {
        least = live;
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
      const owner = slab.owners[object]!;
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

  /** A free slab for the class, or -1 when memory may not grow. */
  #takeSlab(classNumber: number): number {
    if (!this.#options.mayGrow(this.slabBytes)) return -1;
    const arena = this.#arenas.find((each) => each.freeFrames.length > 0) ?? this.#addArena();
    const number = this.#freeSlabs.pop() ?? this.#slabs.push(new Slab()) - 1;
    const slab = this.#slabs[number]!;
    const sizeClass = this.#classes[classNumber]!;
    slab.sizeClass = classNumber;
    slab.arena = arena;
    slab.frame = arena.freeFrames.pop()!;
    slab.baseOffset = slab.frame * this.slabBytes;
    slab.liveCount = 0;
    slab.freeHead = 0;
    slab.owners = new Uint32Array(sizeClass.objectsPerSlab);
    for (let object = 0; object < sizeClass.objectsPerSlab; object++) {
      const next = object + 1 < sizeClass.objectsPerSlab ? object + 1 : END;
      slab.owners[object] = (FREE | next) >>> 0;
    }
    sizeClass.freeCount += sizeClass.objectsPerSlab;
    this.#ownerBytes += slab.owners.byteLength;
    this.heldBytes += this.slabBytes;
    this.#listPartial(sizeClass, number);
    return number;
  }

  #addArena(): Arena {
    const arena = new Arena(this.#arenaBytes, this.slabBytes, this.#tailBytes());
    this.#arenas.push(arena);
    return arena;
  }

  #tailBytes(): number {
    return Math.max(4096, this.#options.objectBytesMax);
  }

  #releaseSlab(number: number): void {
    const slab = this.#slabs[number]!;
    const sizeClass = this.#classes[slab.sizeClass]!;
    this.#unlistPartial(sizeClass, number);
    sizeClass.freeCount -= sizeClass.objectsPerSlab;
    this.heldBytes -= this.slabBytes;
    this.#freeFrame(slab.arena!, slab.frame);
    slab.arena = undefined;
    this.#ownerBytes -= slab.owners.byteLength;
    slab.owners = new Uint32Array(0);
    this.#freeSlabs.push(number);
  }

  #freeFrame(arena: Arena, frame: number): void {
    arena.freeFrames.push(frame);
    if (arena.freeFrames.length === arena.frameCount) {
      this.#arenas.splice(this.#arenas.indexOf(arena), 1);
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
