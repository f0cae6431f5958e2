/** The findings of a check, counted, of which the first are kept in words. */

import type { CheckFinding, CheckReport, FormatName } from '../format.ts';

const FINDINGS_MAX = 1000;

/** Counts grow as the check goes on; `report` is what it says at its end. */
export class Findings {
  corruptions = 0;
  leaks = 0;
  errors = 0;
  corruptionsFixed = 0;
  leaksFixed = 0;
  allocatedUnits = 0;
  compressedUnits = 0;
  fragmentedUnits = 0;
  readonly #findings: CheckFinding[] = [];
  #lastEnd = 0;

  corruption(message: string, isRepaired: boolean): void {
    if (isRepaired) this.corruptionsFixed++;
    else this.corruptions++;
    this.#add({ kind: 'corruption', message, isRepaired });
  }

  /** `count` leaks, which one sentence names. */
  leak(message: string, count: number, isRepaired: boolean): void {
    if (isRepaired) this.leaksFixed += count;
    else this.leaks += count;
    this.#add({ kind: 'leak', message, isRepaired });
  }

  error(message: string): void {
    this.errors++;
    this.#add({ kind: 'error', message, isRepaired: false });
  }

  /** A unit of data is there; it is fragmented when it does not follow the one before. */
  unit(offset: number, length: number): void {
    if (this.allocatedUnits > 0 && offset !== this.#lastEnd) this.fragmentedUnits++;
    this.allocatedUnits++;
    this.#lastEnd = offset + length;
  }

  report(formatName: FormatName, totalUnits: number, imageEndOffset: number): CheckReport {
    return {
      formatName,
      corruptions: this.corruptions,
      leaks: this.leaks,
      errors: this.errors,
      corruptionsFixed: this.corruptionsFixed,
      leaksFixed: this.leaksFixed,
      totalUnits,
      allocatedUnits: this.allocatedUnits,
      compressedUnits: this.compressedUnits,
      fragmentedUnits: this.fragmentedUnits,
      imageEndOffset,
      findings: this.#findings,
    };
  }

  #add(finding: CheckFinding): void {
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push(finding);
  }
}
