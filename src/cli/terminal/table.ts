/** Text in columns on a terminal, whatever characters are in it. */

/** Characters of East Asian scripts and emoji, which take two columns. */
const WIDE =
  /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u;
/** Marks that are drawn on the character before them, and joiners. */
const NARROWEST = /[\p{Mn}\p{Me}\p{Cf}]/u;
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/**
 * `text` without what would command the terminal: names come from clients, and must not be able to
 * clear the screen or to turn the line around.
 */
export function printable(text: string): string {
  return text.replaceAll(CONTROL, '\ufffd');
}

function widthOfCharacter(character: string): number {
  if (NARROWEST.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** The columns that `text`, which is printable, takes on a terminal. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) width += widthOfCharacter(character);
  return width;
}

/** `text` made printable and cut, with an ellipsis, to at most `widthMax` columns. */
export function cut(text: string, widthMax: number): string {
  const clean = printable(text);
  if (displayWidth(clean) <= widthMax) return clean;
  let kept = '';
  let width = 1;
  for (const character of clean) {
    width += widthOfCharacter(character);
    if (width > widthMax) break;
    kept += character;
  }
  return widthMax > 0 ? `${kept}…` : '';
}

/** `text` with spaces behind it, or before it for a number, up to `width` columns. */
export function pad(text: string, width: number, side: 'left' | 'right' = 'left'): string {
  const space = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return side === 'left' ? text + space : space + text;
}

/** One column of a table. */
export interface Column<Row> {
  readonly title: string;
  /** Numbers stand at the right of their column; text, which is the default, at the left. */
  readonly align?: 'left' | 'right';
  cell(row: Row): string;
}

/** A name that is longer makes its table no wider. */
const CELL_WIDTH_MAX = 60;
const GAP = '  ';

/** The rows under their titles, a line each, every column as wide as it must be. */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = columns.map(({ title, cell }) => [
    title,
    ...rows.map((row) => cut(cell(row), CELL_WIDTH_MAX)),
  ]);
  const widths = cells.map((texts) => Math.max(...texts.map(displayWidth)));
  const lines = [-1, ...rows.keys()].map((row) =>
    columns
      .map(({ align }, at) => pad(cells[at]?.[row + 1] ?? '', widths[at] ?? 0, align))
      .join(GAP)
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}
