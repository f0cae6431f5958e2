/**
 * What happened when, in constant memory, for a trace whose length nobody knows before its end:
 * columns of equal time, which become twice as wide whenever they do not reach any more.
 */

/** Columns at most; a trace that is long enough ends with at least half of them in use. */
export const COLUMNS = 128;

/** Rows of counters under the columns of one axis. */
export class TimeGrid {
  readonly rows: number;
  /** Row after row, `COLUMNS` each. */
  readonly cells: Float64Array;

  constructor(rows: number) {
    this.rows = rows;
    this.cells = new Float64Array(rows * COLUMNS);
  }

  add(row: number, column: number, amount: number): void {
    const cell = row * COLUMNS + column;
    this.cells[cell] = this.cells[cell]! + amount;
  }

  /** Adds every second column to the one before it, and closes the gaps. */
  foldColumns(): void {
    const { cells } = this;
    for (let row = 0; row < this.rows; row++) {
      const start = row * COLUMNS;
      for (let column = 0; column < COLUMNS / 2; column++) {
        const from = start + 2 * column;
        cells[start + column] = cells[from]! + cells[from + 1]!;
      }
      cells.fill(0, start + COLUMNS / 2, start + COLUMNS);
    }
  }

  /** The first `columns` of a row, copied. */
  row(row: number, columns: number): number[] {
    return [...this.cells.subarray(row * COLUMNS, row * COLUMNS + columns)];
  }
}

/** Divides time, and keeps its grids divided alike. */
export class TimeAxis {
  /** Microseconds of the first column's start; NaN before the first request. */
  startUs = Number.NaN;
  /** Microseconds a column. */
  widthUs = 1;
  /** Columns that have been used. */
  used = 0;
  private readonly grids: TimeGrid[] = [];

  /** A grid that has nothing in it is folded with the others from now on; answers it. */
  adopt<Grid extends TimeGrid>(grid: Grid): Grid {
    this.grids.push(grid);
    return grid;
  }

  /** The column of a time; what is before the first belongs to it. May fold the grids. */
  columnOf(timeUs: number): number {
    if (Number.isNaN(this.startUs)) this.startUs = timeUs;
    let column = Math.max(0, Math.floor((timeUs - this.startUs) / this.widthUs));
    while (column >= COLUMNS) {
      for (const grid of this.grids) grid.foldColumns();
      this.widthUs *= 2;
      this.used = Math.ceil(this.used / 2);
      column = Math.floor((timeUs - this.startUs) / this.widthUs);
    }
    if (column >= this.used) this.used = column + 1;
    return column;
  }
}
