/** Help texts, made from the tables that the command line is read by. */

import type { OptionSpec, OptionTable } from './arguments.ts';

/** The column at which explanations begin. */
const TEXT_COLUMN = 34;

/** Two columns: a term, and its explanation of one or more lines. */
export function formatEntry(term: string, text: string): string {
  const [first = '', ...rest] = text.split('\n');
  const head = `  ${term}`;
  // A term that reaches into the explanation's column gets a line of its own.
  const lines =
    head.length + 2 > TEXT_COLUMN
      ? [head, ' '.repeat(TEXT_COLUMN) + first]
      : [head.padEnd(TEXT_COLUMN) + first];
  return [...lines, ...rest.map((line) => ' '.repeat(TEXT_COLUMN) + line)].join('\n');
}

function valueText({ value, isValueOptional }: OptionSpec): string {
  if (value === undefined) return '';
  return isValueOptional ? `[=${value}]` : ` ${value}`;
}

function formatOption(name: string, spec: OptionSpec): string {
  const short = spec.short === undefined ? '' : `-${spec.short}, `;
  return formatEntry(`${short}--${name}${valueText(spec)}`, spec.help);
}

/** The explanation of every option in the table, a line or more for each. */
export function formatOptions(table: OptionTable<string>): string {
  return Object.entries(table)
    .map(([name, spec]) => formatOption(name, spec))
    .join('\n');
}
