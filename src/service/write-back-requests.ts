/**
 * Dirty pages that are in the way of others are written back before they are due: above a limit, above
 * a cap, and of swap devices, which keep theirs for good, as many as others lack of their shares.
 */

import type { WriteBack } from '../export/writes/write-back.ts';
import type { Served } from './exports.ts';

/** Of its dirty pages a swap device gives others no more than this share at a time. */
const OWED_SHARE_MAX = 1 / 4;

/** An export whose dirty pages have somewhere to go. */
interface Writing {
  readonly writeBack: WriteBack;
  readonly pageBytes: number;
  /** Whether its pages stay dirty for as long as there is room. */
  readonly keepsPages: boolean;
  /** What its account had owed when it was looked at last, pages, and its cap then. */
  owedBefore: number;
  capBytesBefore: number;
}

export class WriteBackRequests {
  readonly #writing: readonly Writing[];

  constructor(served: readonly Served[]) {
    this.#writing = served.flatMap(({ disk, target: { writeBack, mode, pageBytes } }) => {
      const keepsPages = mode === 'swap';
      if (writeBack === undefined || (keepsPages && disk.overflow === undefined)) return [];
      const { capBytes } = writeBack.tier.frontswap.pool.account;
      return [{ writeBack, pageBytes, keepsPages, owedBefore: 0, capBytesBefore: capBytes }];
    });
  }

  /** Memory is held by dirty pages that can not go: each export writes its part of so many bytes. */
  reduce(bytes: number): void {
    const dirty = this.#writing.filter(({ writeBack }) => writeBack.tier.table.count > 0);
    for (const { writeBack } of dirty) writeBack.reduce(bytes / dirty.length);
  }

  /** Has those write that are above their caps, or owe others pages; to be called now and then. */
  fitShares(): void {
    for (const each of this.#writing) {
      const owedPages = owedNow(each);
      const { writeBack, pageBytes } = each;
      if (isCapRaised(each)) writeBack.restoreLimit();
      // What refused a write is tried again by itself, and is asked for no more until it took that.
      if (writeBack.tier.table.troubledCount > 0) continue;
      fitCap(writeBack);
      if (owedPages > 0) writeBack.reduce(owedPages * pageBytes);
    }
  }
}

/** Since the export was looked at last. */
function isCapRaised(each: Writing): boolean {
  const { capBytes } = each.writeBack.tier.frontswap.pool.account;
  const isRaised = capBytes > each.capBytesBefore;
  each.capBytesBefore = capBytes;
  return isRaised;
}

/** The dirty pages alone are to be within the cap; clean ones leave by themselves. */
function fitCap(writeBack: WriteBack): void {
  const { table, frontswap } = writeBack.tier;
  const { usage, account } = frontswap.pool;
  if (usage.usedBytes <= account.capBytes) return;
  writeBack.reduceTo(Math.floor((table.count * account.capBytes) / usage.usedBytes));
}

/** Pages that the export has come to owe since it was looked at last, as far as they may go at once. */
function owedNow(each: Writing): number {
  const { table, frontswap } = each.writeBack.tier;
  const { owedPages } = frontswap.pool.account;
  const pages = owedPages - each.owedBefore;
  each.owedBefore = owedPages;
  // Those of an image become clean within seconds anyway.
  return each.keepsPages ? Math.min(pages, Math.ceil(table.count * OWED_SHARE_MAX)) : 0;
}
