/**
 * The size classes of slabs: quotients of the slab size, so that the waste behind the last object
 * is a few bytes. Small objects get coarse steps: they waste little, while every class costs half an
 * empty slab. A page size has a class of exactly that size.
 */

import { PAGE_BYTES_MIN } from '../lib/page-bytes.ts';

/** A slab has at most this many objects: their numbers and the end of a list fit 12 bits. */
export const OBJECTS_PER_SLAB_MAX = 4095;
/** Bytes that name an object's owner. */
export const OWNER_BYTES = 4;

/** Sizes are multiples of this, and neighbouring classes differ by it at least. */
const STEP_BYTES = 16;
const OBJECT_BYTES_MIN = 64;
/** What an array of owners takes on the heap beside its bytes, about. */
const OWNERS_APART_BYTES = 300;

/** All slabs of one object size. */
export interface SizeClass {
  readonly objectBytes: number;
  readonly objectsPerSlab: number;
  /** Owners lie behind the objects, in the slab; whole pages leave no room there. */
  readonly isOwnersInside: boolean;
  /** Bytes beside each slab for owners that are apart. */
  readonly ownersApartBytes: number;
  /** Numbers of the slabs that have room and hold something. */
  readonly partial: number[];
  /** Objects that are free in all slabs of the class. */
  freeCount: number;
}

/** The classes from the largest down, and which of them an object goes to. */
export class SizeClasses {
  readonly all: readonly SizeClass[];
  readonly #numberByStep: Uint16Array;

  /** Of powers of two. */
  constructor(slabBytes: number, objectBytesMax: number) {
    this.all = makeClasses(slabBytes, objectBytesMax);
    this.#numberByStep = new Uint16Array(objectBytesMax / STEP_BYTES + 1);
    let at = this.all.length - 1;
    for (let step = 0; step < this.#numberByStep.length; step++) {
      while (this.all[at]!.objectBytes < step * STEP_BYTES) at--;
      this.#numberByStep[step] = at;
    }
  }

  /** The number of the smallest class that takes an object of `bytes`. */
  numberFor(bytes: number): number {
    const number = this.#numberByStep[Math.ceil(bytes / STEP_BYTES)];
    if (number === undefined) throw new Error(`slabs: no class for an object of ${bytes} bytes`);
    return number;
  }
}

function makeClasses(slabBytes: number, objectBytesMax: number): SizeClass[] {
  const classes: SizeClass[] = [];
  let above = Number.POSITIVE_INFINITY;
  for (let n = slabBytes / objectBytesMax; n <= OBJECTS_PER_SLAB_MAX; n++) {
    const whole = slabBytes / n;
    const isPage = whole >= PAGE_BYTES_MIN && Number.isInteger(Math.log2(whole));
    const objectBytes = isPage ? whole : roundDown(whole - OWNER_BYTES);
    if (objectBytes < OBJECT_BYTES_MIN) break;
    if (!isPage && above - objectBytes < leastStep(objectBytes)) continue;
    above = objectBytes;
    classes.push(classOf(slabBytes, objectBytes, n));
  }
  return classes;
}

function classOf(slabBytes: number, objectBytes: number, quotient: number): SizeClass {
  const fitting = Math.floor(slabBytes / (objectBytes + OWNER_BYTES));
  const isOwnersInside = fitting >= quotient;
  const objectsPerSlab = isOwnersInside ? Math.min(OBJECTS_PER_SLAB_MAX, fitting) : quotient;
  const ownersApartBytes = isOwnersInside ? 0 : quotient * OWNER_BYTES + OWNERS_APART_BYTES;
  return {
    objectBytes,
    objectsPerSlab,
    isOwnersInside,
    ownersApartBytes,
    partial: [],
    freeCount: 0,
  };
}

function leastStep(objectBytes: number): number {
  return Math.max(STEP_BYTES, Math.min(96, objectBytes / 6), objectBytes / 32);
}

function roundDown(bytes: number): number {
  return Math.floor(bytes / STEP_BYTES) * STEP_BYTES;
}
