/**
 * A terminal that is drawn on over and over: the alternate screen, so that what was there before
 * comes back. Source: ECMA-48, and xterm's control sequences for the private modes.
 */

/** The terminal that stdout is. */
export interface Terminal {
  /** Its size now, at least 1 × 1. */
  size(): { readonly columns: number; readonly rows: number };
  /** Calls `listener` whenever the size changes; answers how to end that. */
  onResize(listener: () => void): () => void;
}

const ESC = '\u001b';
const HOME = `${ESC}[H`;
const CLEAR_TO_LINE_END = `${ESC}[K`;
const CLEAR_BELOW = `${ESC}[J`;

/** Begins to draw on the whole terminal, without its cursor. */
export const ENTER_SCREEN = `${ESC}[?1049h${ESC}[?25l`;
/** Gives the terminal back as it was. */
export const LEAVE_SCREEN = `${ESC}[?25h${ESC}[?1049l`;

/**
 * What draws `text` in the place of all that was drawn before. It is drawn over, not after a clear,
 * so nothing flickers. Of more lines than there are `rows`, the last row says how many are missing.
 */
export function drawing(text: string, rows: number): string {
  let lines = text.replace(/\n$/, '').split('\n');
  if (lines.length > rows) {
    const kept = lines.slice(0, rows - 1);
    lines = [...kept, `… and ${lines.length - kept.length} more lines`];
  }
  // Cleared before it is written: a line as wide as the screen leaves the cursor on its last column.
  return HOME + lines.map((line) => CLEAR_TO_LINE_END + line).join('\r\n') + CLEAR_BELOW;
}

/** The terminal behind a stream. */
export function terminalOf(stream: NodeJS.WriteStream): Terminal {
  return {
    // A terminal that does not know its size says 0 (a serial line): what most have, then.
    size: () => ({ columns: stream.columns || 80, rows: stream.rows || 24 }),
    onResize: (listener) => {
      stream.on('resize', listener);
      return () => stream.off('resize', listener);
    },
  };
}
