/** Numbers for names as they come along in the bytes of a trace, without a string per request. */

/** Names in one trace: more are a sign of a column that is no name. */
const NAMES_MAX = 1 << 24;
const SLOTS_MIN = 256;
const POOL_BYTES_MIN = 4096;

/** FNV-1a over the bytes, 32 bits; http://www.isthe.com/chongo/tech/comp/fnv. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  return hash ^ (hash >>> 15);
}

/** Byte strings numbered in the order of their first use. Grows with the distinct names alone. */
export class NameTable {
  #count = 0;
  /** Open addressing: number + 1, 0 for a free slot. */
  #slots = new Int32Array(SLOTS_MIN);
  /** Where the name of each number ends in the pool; it starts where the one before ends. */
  #ends = new Float64Array(SLOTS_MIN);
  #pool = new Uint8Array(POOL_BYTES_MIN);
  /** Whom the last call was about: requests of one volume come in runs. */
  #last = -1;

  get count(): number {
    return this.#count;
  }

  /** The number of the name in `bytes` from `from` up to `to`; -1 if there are too many names. */
  numberOf(bytes: Uint8Array, from: number, to: number): number {
    if (this.#last >= 0 && this.#isName(this.#last, bytes, from, to)) return this.#last;
    const mask = this.#slots.length - 1;
    let slot = hashOf(bytes, from, to) & mask;
    for (;;) {
      const number = this.#slots[slot]! - 1;
      if (number < 0) break;
      if (this.#isName(number, bytes, from, to)) {
        this.#last = number;
        return number;
      }
      slot = (slot + 1) & mask;
    }
    return this.#add(slot, bytes, from, to);
  }

  /** The bytes of a name. */
  bytesOf(number: number): Buffer {
    const from = this.#startOf(number);
    return Buffer.from(this.#pool.subarray(from, this.#ends[number] ?? from));
  }

  #startOf(number: number): number {
    return number === 0 ? 0 : (this.#ends[number - 1] ?? 0);
  }

  #isName(number: number, bytes: Uint8Array, from: number, to: number): boolean {
    const start = number === 0 ? 0 : this.#ends[number - 1]!;
    if (this.#ends[number]! - start !== to - from) return false;
    for (let at = from; at < to; at++) {
      if (this.#pool[start + at - from] !== bytes[at]) return false;
    }
    return true;
  }

  #add(slot: number, bytes: Uint8Array, from: number, to: number): number {
    if (this.#count === NAMES_MAX) return -1;
    const number = this.#count++;
    const start = this.#startOf(number);
    const end = start + to - from;
    if (number === this.#ends.length) this.#ends = grown(this.#ends, number * 2);
    while (end > this.#pool.length) this.#pool = grown(this.#pool, this.#pool.length * 2);
    this.#pool.set(bytes.subarray(from, to), start);
    this.#ends[number] = end;
    this.#slots[slot] = number + 1;
    if (this.#count * 2 > this.#slots.length) this.#rehash();
    this.#last = number;
    return number;
  }

  #rehash(): void {
    const slots = new Int32Array(this.#slots.length * 2);
    for (let number = 0; number < this.#count; number++) {
      let slot =
        hashOf(this.#pool, this.#startOf(number), this.#ends[number]!) & (slots.length - 1);
      while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1);
      slots[slot] = number + 1;
    }
    this.#slots = slots;
  }
}

function grown<Column extends Float64Array | Uint8Array>(column: Column, length: number): Column {
  const longer = new (column.constructor as new (length: number) => Column)(length);
  longer.set(column);
  return longer;
}
