/** What the requests of each volume come to, in a few numbers a volume. */

/** Sequential streams that are followed at once on a volume. */
const STREAMS = 8;

/** The counters of a volume. */
export const VOLUME_COUNTERS = [
  'reads',
  'writes',
  'trims',
  'flushes',
  'readBytes',
  'writeBytes',
  'sequentialReads',
  'sequentialWrites',
] as const;

export type VolumeCounter = (typeof VOLUME_COUNTERS)[number];

const WIDTH = VOLUME_COUNTERS.length;

/** Counters of any number of volumes, which are numbered from 0. */
export class VolumeStatistics {
  /** One more than the highest volume seen. */
  count = 0;
  private counters = new Float64Array(WIDTH);
  /** Where the last streams of each volume ended, and which of them is replaced next. */
  private ends = new Float64Array(STREAMS).fill(-1);
  private next = new Uint8Array(1);

  /** Makes room for a volume; to be called before it is counted. */
  meet(volume: number): void {
    if (volume < this.count) return;
    this.count = volume + 1;
    if (this.count <= this.next.length) return;
    const room = Math.max(this.count, this.next.length * 2);
    this.counters = grown(this.counters, new Float64Array(room * WIDTH));
    this.ends = grown(this.ends, new Float64Array(room * STREAMS).fill(-1));
    const next = new Uint8Array(room);
    next.set(this.next);
    this.next = next;
  }

  add(volume: number, counter: VolumeCounter, amount: number): void {
    const at = volume * WIDTH + VOLUME_COUNTERS.indexOf(counter);
    this.counters[at] = this.counters[at]! + amount;
  }

  get(volume: number, counter: VolumeCounter): number {
    return this.counters[volume * WIDTH + VOLUME_COUNTERS.indexOf(counter)] ?? 0;
  }

  /**
   * Whether a request begins where one of the last eight streams of its volume ended; it belongs to
   * that stream then, and begins another if not.
   */
  continues(volume: number, offset: number, length: number): boolean {
    const { ends } = this;
    const start = volume * STREAMS;
    for (let at = start; at < start + STREAMS; at++) {
      if (ends[at] !== offset) continue;
      ends[at] = offset + length;
      return true;
    }
    const next = this.next[volume]!;
    ends[start + next] = offset + length;
    this.next[volume] = (next + 1) % STREAMS;
    return false;
  }
}

function grown(from: Float64Array, into: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  into.set(from);
  return into;
}
