/** Where on a volume the requests go, over time, in constant memory. */

import { COLUMNS, TimeGrid } from './time-axis.ts';

/** Rows of equal address range, which double as the times do; at least half are in use. */
const ROWS = 64;

/** Bytes asked for by address, which grows with the row, and time. */
export class HeatMap extends TimeGrid {
  /** Bytes a row. */
  rowBytes: number;
  /** Rows that have been used. */
  used = 0;

  /** `rowBytesMin` is the finest that is told apart. */
  constructor(rowBytesMin: number) {
    super(ROWS);
    this.rowBytes = rowBytesMin;
  }

  /** Counts a request whole where it begins. */
  note(column: number, offset: number, length: number): void {
    let row = Math.floor(offset / this.rowBytes);
    while (row >= ROWS) {
      this.foldRows();
      row = Math.floor(offset / this.rowBytes);
    }
    if (row >= this.used) this.used = row + 1;
    this.add(row, column, length);
  }

  private foldRows(): void {
    const { cells } = this;
    for (let row = 0; row < ROWS / 2; row++) {
      const from = 2 * row * COLUMNS;
      for (let column = 0; column < COLUMNS; column++) {
        cells[row * COLUMNS + column] = cells[from + column]! + cells[from + COLUMNS + column]!;
      }
    }
    cells.fill(0, (ROWS / 2) * COLUMNS);
    this.rowBytes *= 2;
    this.used = Math.ceil(this.used / 2);
  }
}
