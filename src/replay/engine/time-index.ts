/**
 * When the accesses of a stream were, in constant memory: the times of every n-th access, where n
 * doubles as the stream grows.
 */

const TIMES_MAX = 8192;

/** Times by access, at most 8,192 of them. */
export class TimeIndex {
  /** Accesses from one kept time to the next; a power of two. */
  stride = 1;
  private readonly times = new Float64Array(TIMES_MAX);
  private count = 0;

  /** Access `index` was then; each index in turn, from 0. */
  note(index: number, timeUs: number): void {
    if ((index & (this.stride - 1)) !== 0) return;
    if (this.count === TIMES_MAX) {
      for (let i = 0; 2 * i < TIMES_MAX; i++) this.times[i] = this.times[2 * i]!;
      this.count = TIMES_MAX / 2;
      this.stride *= 2;
    }
    this.times[this.count++] = timeUs;
  }

  /** The kept times on a `SharedArrayBuffer`. */
  finish(): Float64Array {
    const times = new Float64Array(new SharedArrayBuffer(this.count * 8));
    times.set(this.times.subarray(0, this.count));
    return times;
  }
}
