/**
 * What readers of a disk may see: every unit of it has a history of changes, each with the moments
 * at which it was asked for and answered. A reader may get what any change brought that was asked
 * for before it had its answer, unless a later one, asked for when that had been answered, was
 * itself answered well before the reader asked.
 */

interface Change {
  readonly value: number;
  readonly asked: number;
  /** When it was answered, well or not; Infinity until then. */
  answered: number;
  /** Whether what was there before must be gone when it has been answered. */
  supersedes: boolean;
}

export class WriteHistory {
  #time = 0;
  readonly #units: Change[][];

  constructor(values: readonly number[]) {
    this.#units = values.map((value) => [{ value, asked: 0, answered: 0, supersedes: true }]);
  }

  /** A moment, later than all before. */
  now(): number {
    return ++this.#time;
  }

  /** A change is asked for; it is answered by calling the result, with whether it went well. */
  begin(unit: number, value: number, supersedes = true): (wentWell: boolean) => void {
    const change = { value, asked: this.now(), answered: Number.POSITIVE_INFINITY, supersedes };
    this.#units[unit]?.push(change);
    return (wentWell) => {
      change.answered = this.now();
      if (!wentWell) change.supersedes = false;
    };
  }

  /** Whether a reader who asked at `asked` may get `value` now. */
  mayRead(unit: number, value: number, asked: number): boolean {
    const changes = this.#units[unit] ?? [];
    const isGone = ({ answered }: Change): boolean =>
      changes.some(
        (later) => later.supersedes && later.asked > answered && later.answered <= asked,
      );
    return changes.some((change) => change.value === value && !isGone(change));
  }
}
