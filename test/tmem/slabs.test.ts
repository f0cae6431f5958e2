import { describe, expect, it, vi } from 'vitest';
import { NO_LOCATION, Slabs } from '../../src/tmem/slabs.ts';
import { fc } from '../tools/seed.ts';

const SLAB = 64 * 1024;
const ARENA = 4 * SLAB;
const OBJECT_MAX = 16 * 1024;

/** What is forgotten is overwritten: whoever still had something there finds out. */
const forget = (memory: Uint8Array) => memory.fill(0xee);

function make(hasRoom: (bytes: number) => boolean = () => true): Slabs {
  return new Slabs({
    ...{ slabBytes: SLAB, objectBytesMax: OBJECT_MAX, arenaBytes: ARENA },
    ...{ hasRoom, forget },
  });
}

/** Slabs beside a map of what each owner stored where. */
interface ModelObject {
  readonly owner: number;
  location: number;
  readonly content: Buffer;
  pins: number;
  /** Where it was pinned: a socket may send it from there. */
  place?: { readonly buffer: Buffer; readonly offset: number };
}

class Model {
  hasRoom = true;
  readonly slabs = make(() => this.hasRoom);
  readonly #objects: ModelObject[] = [];
  #nextOwner = 0;

  allocate(bytes: number): void {
    const owner = this.#nextOwner++;
    const held = this.slabs.heldBytes;
    const location = this.slabs.allocate(bytes, owner);
    if (location === NO_LOCATION) {
      expect(this.hasRoom).toBe(false);
      expect(this.slabs.heldBytes).toBe(held);
      return;
    }
    expect(this.slabs.sizeAt(location)).toBeGreaterThanOrEqual(bytes);
    const content = Buffer.alloc(bytes, `${owner}.`);
    this.slabs.copyIn(location, content, 0, bytes);
    this.#objects.push({ owner, location, content, pins: 0 });
  }

  free(at: number): void {
    const each = this.#objects[at % this.#objects.length];
    if (each === undefined || each.pins > 0) return;
    this.#objects.splice(this.#objects.indexOf(each), 1);
    this.slabs.free(each.location);
  }

  /** Frees all objects but each `nth`, so that slabs are left with holes. */
  thin(nth: number): void {
    for (let at = this.#objects.length - 1; at >= 0; at--) if (at % nth !== 0) this.free(at);
  }

  pin(at: number): void {
    const each = this.#objects[at % this.#objects.length];
    if (each === undefined) return;
    if (each.pins++ === 0) {
      const buffer = this.slabs.bufferAt(each.location);
      each.place = { buffer, offset: this.slabs.offsetAt(each.location) };
    }
    this.slabs.pin(each.location);
  }

  unpin(at: number): void {
    const each = this.#objects[at % this.#objects.length];
    if (each === undefined || each.pins === 0) return;
    each.pins--;
    this.slabs.unpin(each.location);
  }

  compact(): number {
    const before = this.slabs.heldBytes;
    const freed = this.slabs.compact((owner, location) => {
      const each = this.#objects.find((object) => object.owner === owner);
      expect(each?.pins).toBe(0);
      if (each !== undefined) each.location = location;
    });
    expect(before - this.slabs.heldBytes).toBe(freed);
    return freed;
  }

  check(): void {
    let used = 0;
    const places = new Set<string>();
    for (const { location, content, pins, place } of this.#objects) {
      used += this.slabs.sizeAt(location);
      const buffer = this.slabs.bufferAt(location);
      const offset = this.slabs.offsetAt(location);
      if (buffer.compare(content, 0, content.length, offset, offset + content.length) !== 0) {
        expect.fail('an object lost its bytes');
      }
      if (pins > 0 && (buffer !== place?.buffer || offset !== place.offset)) {
        expect.fail('a pinned object was moved');
      }
      places.add(`${buffer.byteLength}:${location}`);
    }
    expect(places.size).toBe(this.#objects.length);
    expect(this.slabs.usedBytes).toBe(used);
    expect(this.slabs.heldBytes % SLAB).toBe(0);
    expect(this.slabs.heldBytes).toBeGreaterThanOrEqual(used);
  }

  finish(): void {
    for (const each of this.#objects) while (each.pins > 0) this.unpin(this.#objects.indexOf(each));
    while (this.#objects.length > 0) this.free(0);
    expect([this.slabs.heldBytes, this.slabs.usedBytes]).toEqual([0, 0]);
  }
}

const size = fc.oneof(
  fc.integer({ min: 1, max: OBJECT_MAX }),
  fc.constantFrom(1, 16, 64, 65, 2048, 4096, 8192, OBJECT_MAX),
);
const step = fc.oneof(
  fc.tuple(fc.constant('allocate' as const), size),
  fc.tuple(fc.constant('allocateMany' as const), size),
  fc.tuple(fc.constantFrom('free' as const, 'pin' as const, 'unpin' as const), fc.nat()),
  fc.tuple(fc.constant('thin' as const), fc.integer({ min: 2, max: 9 })),
  fc.tuple(fc.constant('compact' as const), fc.constant(0)),
  fc.tuple(fc.constant('releaseArenas' as const), fc.nat({ max: 8 })),
  fc.tuple(fc.constant('hasRoom' as const), fc.nat({ max: 1 })),
);

describe('slabs', () => {
  it('keep every object, and count exactly, beside a model', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const model = new Model();
        for (const [does, value] of steps) {
          if (does === 'allocateMany') for (let i = 0; i < 40; i++) model.allocate(value);
          else if (does === 'releaseArenas') model.slabs.releaseArenas(value);
          else if (does === 'hasRoom') model.hasRoom = value === 1;
          else model[does](value);
          model.check();
        }
        model.finish();
      }),
      { numRuns: 60 },
    );
  });

  it('fill a slab with objects of every class, and none is out of reach', () => {
    const slabs = new Slabs({
      slabBytes: 256 * 1024,
      objectBytesMax: 65536,
      hasRoom: () => slabs.heldBytes === 0,
    });
    for (let bytes = 16; bytes <= 65536; bytes += bytes < 1024 ? 16 : 464) {
      const locations: number[] = [];
      for (;;) {
        const location = slabs.allocate(bytes, 7);
        if (location === NO_LOCATION) break;
        locations.push(location);
      }
      expect(new Set(locations).size).toBe(locations.length);
      const wasted = slabs.heldBytes - slabs.usedBytes;
      expect(wasted).toBeLessThan(slabs.heldBytes / 8); // owners of the smallest: 4 bytes of 64
      for (const location of locations) slabs.free(location);
      expect([slabs.heldBytes, slabs.usedBytes]).toEqual([0, 0]);
    }
  });

  it('give whole pages exactly their size', () => {
    const slabs = make();
    for (const bytes of [4096, 8192, 16384]) {
      expect(slabs.sizeAt(slabs.allocate(bytes, 0))).toBe(bytes);
      const [a, b] = [slabs.allocate(bytes, 1), slabs.allocate(bytes, 2)];
      expect(Math.abs(slabs.offsetAt(a) - slabs.offsetAt(b))).toBe(bytes);
    }
  });

  it('take no larger place for an object than the smallest that is large enough', () => {
    const slabs = make();
    const sizes = new Set<number>();
    for (let bytes = 1; bytes <= OBJECT_MAX; bytes++) {
      const size = slabs.sizeFor(bytes);
      sizes.add(size);
      if (size < bytes || slabs.sizeFor(size) !== size) expect.fail(`${bytes} bytes take ${size}`);
    }
    expect(Math.min(...sizes)).toBeLessThanOrEqual(80);
    expect([...sizes]).toEqual([...sizes].sort((a, b) => a - b));
  });

  it('give the holes of many slabs back as whole slabs', () => {
    const model = new Model();
    for (let i = 0; i < 400; i++) model.allocate(2000);
    model.thin(4);
    const held = model.slabs.heldBytes;
    let freed = 0;
    for (let gained = model.compact(); gained > 0; gained = model.compact()) freed += gained;
    model.check();
    expect(freed).toBeGreaterThanOrEqual(held / 2);
    expect(model.slabs.heldBytes - model.slabs.usedBytes).toBeLessThan(SLAB * 1.2);
  });

  it('give back all of an arena in small pieces before it goes', () => {
    let forgotten = 0;
    const slabs = new Slabs({
      ...{ slabBytes: SLAB, objectBytesMax: OBJECT_MAX, arenaBytes: ARENA, hasRoom: () => true },
      forget: (frame) => {
        expect(frame.length).toBe(SLAB);
        forgotten += frame.length;
      },
    });
    const slabCount = (2 * ARENA) / SLAB;
    const locations = Array.from({ length: slabCount * 4 }, () => slabs.allocate(OBJECT_MAX, 0));
    expect(slabs.heldBytes).toBe(2 * ARENA);
    for (const location of locations.slice(0, 4)) slabs.free(location);
    expect(forgotten).toBe(0);
    slabs.isGivingBack = true;
    for (const location of locations.slice(4, -4)) slabs.free(location);
    slabs.isGivingBack = false;
    // The last arena has a slab in use; the frame that was freed before counts as another's.
    expect(forgotten).toBe(2 * ARENA - 2 * SLAB);
  });

  it('give back what was free before, also of an arena that stays', () => {
    const content = Buffer.alloc(OBJECT_MAX, 'kept');
    let forgotten = 0;
    const slabs = new Slabs({
      ...{ slabBytes: SLAB, objectBytesMax: OBJECT_MAX, arenaBytes: ARENA, hasRoom: () => true },
      forget: (frame) => {
        forgotten += forget(frame).length;
      },
    });
    const kept = slabs.allocate(OBJECT_MAX, 0);
    slabs.copyIn(kept, content, 0, OBJECT_MAX);
    const others = Array.from({ length: 11 }, () => slabs.allocate(OBJECT_MAX, 0));
    for (const location of others) slabs.free(location);
    expect(slabs.releaseArenas(1)).toBe(false); // there is no slab to move
    expect(forgotten).toBe(SLAB);
    slabs.releaseArenas(9);
    expect(forgotten).toBe(2 * SLAB);
    expect(slabs.bufferAt(kept).subarray(slabs.offsetAt(kept)).indexOf(content)).toBe(0);
    for (const _ of others) slabs.allocate(OBJECT_MAX, 0);
    for (const location of others) slabs.free(location);
    slabs.releaseArenas(9);
    expect(forgotten).toBe(4 * SLAB); // used again, and again
  });

  it('ask for all the memory that a slab takes before they take it, and count it until it is gone', () => {
    let allowed = 0;
    let asked = 0;
    const slabs = make((bytes) => {
      asked = bytes;
      return bytes <= allowed;
    });
    const sizes = [1, 100, 2000, 4096, OBJECT_MAX];
    const total = () => slabs.heldBytes + slabs.metadataBytes;
    const locations = sizes.map((bytes) => {
      const before = total();
      allowed = SLAB;
      expect(slabs.allocate(bytes, 0)).toBe(NO_LOCATION);
      expect(total()).toBe(before);
      allowed = SLAB * 2;
      const location = slabs.allocate(bytes, 0);
      expect(location).not.toBe(NO_LOCATION);
      expect(total() - before).toBe(asked);
      return location;
    });
    const all = total();
    for (const location of locations) slabs.free(location);
    for (const bytes of sizes) slabs.allocate(bytes, 0);
    expect(total()).toBe(all);
  });

  it('are never more than a location can name', () => {
    const slabs = new Slabs({
      ...{ slabBytes: SLAB, objectBytesMax: OBJECT_MAX, hasRoom: () => true },
      slabCountMax: 2,
    });
    const locations = Array.from({ length: 9 }, (_, owner) => slabs.allocate(OBJECT_MAX, owner));
    expect(locations[8]).toBe(NO_LOCATION);
    expect(new Set(locations).size).toBe(9);
    expect(slabs.heldBytes).toBe(2 * SLAB);
    for (const location of locations.slice(0, 4)) slabs.free(location);
    expect(slabs.allocate(100, 0)).not.toBe(NO_LOCATION);
    expect(slabs.allocate(5000, 0)).toBe(NO_LOCATION);
  });

  it('refuse an object when the system has no memory for an arena', () => {
    const slabs = make();
    const allocate = vi.fn(function allocate() {
      throw new RangeError('Array buffer allocation failed');
    });
    vi.stubGlobal('ArrayBuffer', allocate);
    try {
      expect(slabs.allocate(4096, 0)).toBe(NO_LOCATION);
    } finally {
      vi.unstubAllGlobals();
    }
    expect(allocate).toHaveBeenCalledOnce();
    expect([slabs.heldBytes, slabs.metadataBytes]).toEqual([0, 0]);
    expect(slabs.allocate(4096, 0)).not.toBe(NO_LOCATION);
  });

  it('move slabs together so that arenas go back, and the bytes stay', () => {
    const model = new Model();
    for (let i = 0; i < 64; i++) model.allocate(OBJECT_MAX);
    model.thin(7);
    const before = model.slabs.metadataBytes;
    while (model.compact() > 0);
    let calls = 0;
    for (let isMore = true; isMore; calls++) {
      const moved = vi.spyOn(Buffer.prototype, 'set');
      const forgotten = vi.spyOn(Buffer.prototype, 'fill');
      isMore = model.slabs.releaseArenas(1);
      expect(moved.mock.calls.length + forgotten.mock.calls.length).toBeLessThanOrEqual(1);
      moved.mockRestore();
      forgotten.mockRestore();
      model.check();
    }
    expect(calls).toBeGreaterThan(1);
    // Ten objects are left of 64 in 16 slabs of 4 arenas; an arena's tail is metadata.
    expect(before - model.slabs.metadataBytes).toBeGreaterThanOrEqual(2 * OBJECT_MAX);
  });

  it('know whose the small objects are in slabs that were moved', () => {
    const model = new Model();
    for (let i = 0; i < 1000; i++) model.allocate(1000);
    model.thin(130); // every other slab keeps one
    const before = model.slabs.metadataBytes;
    while (model.slabs.releaseArenas(8));
    expect(model.slabs.metadataBytes).toBe(before - 2 * OBJECT_MAX); // the tails of two arenas of four
    model.check();
    while (model.compact() > 0) model.check();
    for (let i = 0; i < 100; i++) model.allocate(1000);
    model.check();
    model.finish();
  });

  it('keep a pinned object where it is, and let it go when it was unpinned as often', () => {
    const model = new Model();
    for (let i = 0; i < 64; i++) model.allocate(OBJECT_MAX);
    model.thin(7);
    for (let i = 0; i < 10; i++) {
      model.pin(i);
      model.pin(i);
    }
    const held = model.slabs.heldBytes;
    expect([model.compact(), model.slabs.releaseArenas(1)]).toEqual([0, false]);
    for (let i = 0; i < 10; i++) model.unpin(i);
    expect([model.compact(), model.slabs.releaseArenas(1)]).toEqual([0, false]);
    model.check();
    for (let i = 0; i < 10; i++) model.unpin(i);
    while (model.compact() > 0);
    expect(model.slabs.heldBytes).toBeLessThan(held / 2);
    expect(model.slabs.releaseArenas(1)).toBe(true);
    while (model.slabs.releaseArenas(8));
    model.check();
  });

  it('notice a second free, also when the slab is gone', () => {
    const slabs = make();
    const [a, b] = [slabs.allocate(100, 1), slabs.allocate(100, 2)];
    slabs.free(a);
    expect(() => slabs.free(a)).toThrow('double free');
    slabs.free(b);
    expect(() => slabs.free(b)).toThrow('double free');
  });

  it('give arenas back as a whole where the system takes no pieces', () => {
    const slabs = new Slabs({
      ...{ slabBytes: SLAB, objectBytesMax: OBJECT_MAX, arenaBytes: ARENA, hasRoom: () => true },
    });
    const locations = Array.from({ length: 32 }, (_, i) => slabs.allocate(OBJECT_MAX, i));
    slabs.isGivingBack = true;
    // Of the four slabs in either arena the first and the last stay.
    for (const [i, location] of locations.entries()) {
      if (i % 16 >= 4 && i % 16 < 12) slabs.free(location);
    }
    const before = slabs.metadataBytes;
    while (slabs.releaseArenas(1));
    expect([slabs.heldBytes, slabs.metadataBytes]).toEqual([4 * SLAB, before - OBJECT_MAX]);
  });

  it('copy pages out whole, and refuse to copy what is no page', () => {
    const slabs = make();
    const page = Buffer.alloc(8192, 'page');
    const location = slabs.allocate(8192, 0);
    slabs.copyIn(location, Buffer.concat([Buffer.alloc(9), page]), 9, 8192);
    const dst = Buffer.alloc(8192 + 2, 1);
    slabs.copyOut(location, 8192, dst, 1);
    expect(dst.subarray(1, -1).equals(page)).toBe(true);
    expect([dst.at(0), dst.at(-1)]).toEqual([1, 1]);
    const next = slabs.allocate(8192, 1);
    slabs.copyIn(next, page, 0, 8192);
    slabs.copyIn(location, Buffer.alloc(3 * 8192, 2), 0, 8192); // no more of it than is asked for
    slabs.copyOut(next, 8192, dst, 1);
    expect(dst.subarray(1, -1).equals(page)).toBe(true);
    expect(() => slabs.copyOut(location, 5000, dst, 0)).toThrow('page size');
    const largest = slabs.allocate(OBJECT_MAX, 2);
    slabs.copyIn(largest, Buffer.alloc(OBJECT_MAX, 3), 0, OBJECT_MAX);
    slabs.copyOut(largest, OBJECT_MAX, Buffer.alloc(OBJECT_MAX), 0);
    expect(() => slabs.allocate(OBJECT_MAX + 1, 0)).toThrow('no class');
  });
});
