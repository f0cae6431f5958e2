/** What the operating system and the runtime say of this process, for its metrics. */

import { turnOfTheLoop } from '../../lib/turn-of-the-loop.ts';
import type { ProcessReading } from '../../metrics/sources.ts';

const SECONDS_PER_MS = 1e-3;
const SECONDS_PER_US = 1e-6;

export class ProcessReadings {
  #loopLagSeconds = 0;

  /** Reads all that can be read at once. The lag is that of the last `measureLag`. */
  read(): ProcessReading {
    const { rss, heapUsed, external } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const { active, idle } = performance.eventLoopUtilization();
    return {
      residentBytes: rss,
      heapUsedBytes: heapUsed,
      externalBytes: external,
      cpuSeconds: (user + system) * SECONDS_PER_US,
      startTimeSeconds: performance.timeOrigin * SECONDS_PER_MS,
      loopActiveSeconds: active * SECONDS_PER_MS,
      loopIdleSeconds: idle * SECONDS_PER_MS,
      loopLagSeconds: this.#loopLagSeconds,
    };
  }

  /**
   * Measures how long a turn of the event loop takes now. It starts where callbacks of this turn are
   * done, and does not let the loop sleep meanwhile: an idle loop shows next to nothing.
   */
  async measureLag(): Promise<void> {
    await turnOfTheLoop();
    const started = performance.now();
    await turnOfTheLoop();
    this.#loopLagSeconds = (performance.now() - started) * SECONDS_PER_MS;
  }
}
