/** What the NBD server counts, in plain fields: counting must cost nothing on the hot path. */

/** Commands by number, as metrics call them; the last stands for any unknown one. */
export const COMMAND_NAMES = [
  'read',
  'write',
  'disconnect',
  'flush',
  'trim',
  'cache',
  'write_zeroes',
  'block_status',
  'unknown',
] as const;

/** Upper bounds of the latency histogram's buckets, seconds; one more bucket has no bound. */
export const LATENCY_BOUNDS_SECONDS = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
  0.25, 0.5, 1, 2.5, 10,
] as const;

/** Latencies of one command. */
export class LatencyHistogram {
  /** By bucket, not cumulative. */
  readonly counts = new Float64Array(LATENCY_BOUNDS_SECONDS.length + 1);
  sumSeconds = 0;

  /** Counts `count` requests that took `seconds` each. */
  record(seconds: number, count: number): void {
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS_SECONDS.length && seconds > LATENCY_BOUNDS_SECONDS[bucket]!) {
      bucket++;
    }
    this.counts[bucket]! += count;
    this.sumSeconds += seconds * count;
  }
}

/** Requests of one export, by command and error number. */
export class RequestCounts {
  readonly #ok = new Float64Array(COMMAND_NAMES.length);
  readonly #failed = new Map<number, number>(); // command * 256 + errno

  count(command: number, errno: number): void {
    const index = Math.min(command, COMMAND_NAMES.length - 1);
    if (errno === 0) {
      this.#ok[index]!++;
      return;
    }
    const key = index * 256 + errno;
    this.#failed.set(key, (this.#failed.get(key) ?? 0) + 1);
  }

  /** Calls `each` for every pair of command and error number that was seen. */
  forEach(each: (command: string, errno: number, count: number) => void): void {
    for (const [index, count] of this.#ok.entries()) {
      if (count > 0) each(COMMAND_NAMES[index]!, 0, count);
    }
    for (const [key, count] of this.#failed) each(COMMAND_NAMES[key >>> 8]!, key & 255, count);
  }
}

/** Statistics of a server. */
export class ServerStatistics {
  /** Connections open now, and those accepted and turned away since the start. */
  connections = 0;
  accepted = 0;
  refused = 0;
  /** Handshakes that ended without a transmission phase, and connections dropped for a violation. */
  failedHandshakes = 0;
  violations = 0;
  readonly latencies = COMMAND_NAMES.map(() => new LatencyHistogram());
  readonly requests = new Map<string, RequestCounts>();

  /** The latencies of a command; all unknown ones have one histogram. */
  latencyOf(command: number): LatencyHistogram {
    return this.latencies[Math.min(command, COMMAND_NAMES.length - 1)]!;
  }

  /** The counts of the export of that name. */
  requestsOf(exportName: string): RequestCounts {
    let counts = this.requests.get(exportName);
    if (counts === undefined) {
      counts = new RequestCounts();
      this.requests.set(exportName, counts);
    }
    return counts;
  }
}
