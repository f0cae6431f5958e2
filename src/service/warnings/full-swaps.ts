/**
 * Swap devices without an overflow that are full: their clients get ENOSPC, for which QEMU pauses a
 * guest, and then a metric alone reaches nobody. So the log says it.
 */

import { formatSize } from '../../lib/sizes.ts';
import type { Served } from '../exports.ts';
import type { ServiceLog } from '../settings.ts';

/** How often it is looked, milliseconds: counters are compared, nothing more. */
const LOOK_MS = 1000;
/** After so many looks in a row that find room it is told again, when it is full again. */
const ROOMY_LOOKS = 60;
/** Room is what a page here and there is not. */
const ROOMY_SHARE = 0.95;

/** What is looked at of a device. */
interface SwapDevice {
  readonly name: string;
  readonly sizeBytes: number;
  /** Writes that were refused so far; without an overflow each is one too many. */
  readonly refusedCount: () => number;
  /** What clients have on it, bytes. */
  readonly heldBytes: () => number;
}

/** The swap devices that have nothing but memory. */
export function swapsInMemory(served: readonly Served[]): SwapDevice[] {
  const devices: SwapDevice[] = [];
  for (const { disk, target } of served) {
    const { name, sizeBytes, mode, image } = target;
    if (mode !== 'swap' || disk.overflow !== undefined) continue;
    devices.push({
      ...{ name, sizeBytes },
      refusedCount: () => image.counters.write.failures,
      heldBytes: () => target.dirtyBytes,
    });
  }
  return devices;
}

class WatchedSwap {
  readonly #device: SwapDevice;
  #refusedCount = 0;
  #fullBytes = 0;
  #wasTold = false;
  #roomyLooks = 0;

  constructor(device: SwapDevice) {
    this.#device = device;
  }

  /** What is to be told now, if anything. */
  look(): string | undefined {
    const refusedCount = this.#device.refusedCount();
    const heldBytes = this.#device.heldBytes();
    if (refusedCount === this.#refusedCount) {
      // A guest that is paused writes nothing; that alone is no room.
      const isRoomy = heldBytes > this.#fullBytes || heldBytes < this.#fullBytes * ROOMY_SHARE;
      this.#roomyLooks = isRoomy ? this.#roomyLooks + 1 : 0;
      if (this.#roomyLooks >= ROOMY_LOOKS) this.#wasTold = false;
      return undefined;
    }
    this.#refusedCount = refusedCount;
    this.#fullBytes = heldBytes;
    this.#roomyLooks = 0;
    if (this.#wasTold) return undefined;
    this.#wasTold = true;
    return this.#sentence(heldBytes);
  }

  #sentence(heldBytes: number): string {
    const { name, sizeBytes } = this.#device;
    return (
      `swap device "${name}" is full with ${formatSize(heldBytes)} of its ${formatSize(sizeBytes)}: ` +
      'more is answered ENOSPC, for which QEMU may have paused the guest; discard what is not needed ' +
      '(in the guest, swapoff and swapon -d), lift a cap, limit or freeze that was set (tmem ctl share, ' +
      'limit, thaw), and give it more memory or an overflow file at the next start'
    );
  }
}

/** Tells of each device once when it is full, and again only when it had room for a minute. */
export class FullSwaps {
  readonly #devices: readonly WatchedSwap[];
  readonly #log: ServiceLog;
  #timer: NodeJS.Timeout | undefined;

  constructor(devices: readonly SwapDevice[], log: ServiceLog) {
    this.#devices = devices.map((device) => new WatchedSwap(device));
    this.#log = log;
  }

  start(): void {
    if (this.#devices.length === 0) return;
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** Looks a last time. */
  stop(): void {
    clearInterval(this.#timer);
    this.#look();
  }

  #look(): void {
    for (const device of this.#devices) {
      const sentence = device.look();
      if (sentence !== undefined) this.#log.warn(sentence);
    }
  }
}
