/** A binary heap of slots by a number each, lowest first; knows where each slot is. */
export class SlotHeap {
  count = 0;
  private readonly slots: Int32Array;
  /** Place in `slots` + 1, by slot; 0 is "not in the heap". */
  private readonly places: Int32Array;
  private readonly keys: Float64Array | Int32Array;

  /** `keys` has an entry for each slot, and is kept here: integers take half the memory. */
  constructor(keys: Float64Array | Int32Array) {
    this.slots = new Int32Array(keys.length);
    this.places = new Int32Array(keys.length);
    this.keys = keys;
  }

  /** The slot with the lowest key, or -1. */
  get lowest(): number {
    return this.count === 0 ? -1 : this.slots[0]!;
  }

  keyOf(slot: number): number {
    return this.keys[slot]!;
  }

  /** Puts a slot in, or gives it another key. */
  set(slot: number, key: number): void {
    this.keys[slot] = key;
    let place = this.places[slot]! - 1;
    if (place === -1) place = this.count++;
    this.sink(this.rise(place, slot), slot);
  }

  /** Takes out a slot that is in the heap. */
  remove(slot: number): void {
    const place = this.places[slot]! - 1;
    this.places[slot] = 0;
    const last = this.slots[--this.count]!;
    if (last !== slot) this.sink(this.rise(place, last), last);
  }

  /** Moves a slot from a place up to where it belongs; answers that place. */
  private rise(from: number, slot: number): number {
    const { slots, places, keys } = this;
    const key = keys[slot]!;
    let place = from;
    while (place > 0) {
      const up = (place - 1) >>> 1;
      const other = slots[up]!;
      if (keys[other]! <= key) break;
      slots[place] = other;
      places[other] = place + 1;
      place = up;
    }
    slots[place] = slot;
    places[slot] = place + 1;
    return place;
  }

  private sink(from: number, slot: number): void {
    const { slots, places, keys, count } = this;
    const key = keys[slot]!;
    let place = from;
    for (;;) {
      let down = 2 * place + 1;
      if (down >= count) break;
      if (down + 1 < count && keys[slots[down + 1]!]! < keys[slots[down]!]!) down++;
      const other = slots[down]!;
      if (keys[other]! >= key) break;
      slots[place] = other;
      places[other] = place + 1;
      place = down;
    }
    slots[place] = slot;
    places[slot] = place + 1;
  }
}
