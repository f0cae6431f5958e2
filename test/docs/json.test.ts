/** What commands print with `--json` is in the manual, name by name. */

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { runReplay } from '../../src/cli/replay/replay.ts';
import { trace } from '../../src/cli/trace/trace.ts';
import { ScriptedContext } from '../cli/scripted-context.ts';
import { workspace } from '../tools/workspace.ts';

const MANUAL = readFileSync(path.resolve(import.meta.dirname, '../../docs/cli.md'), 'utf8');

/** The line of the table for a command. */
function rowOf(command: string): string {
  return MANUAL.split('\n').find((line) => line.startsWith(`| \`${command}\``)) ?? '';
}

/** All names in an answer; those of operations are explained elsewhere. */
function namesIn(value: unknown): string[] {
  if (value === null || typeof value !== 'object') return [];
  if (Array.isArray(value)) return value.flatMap(namesIn);
  return Object.entries(value).flatMap(([name, inner]) => [name, ...namesIn(inner)]);
}

const OPERATIONS = ['read', 'write', 'trim', 'flush', 'zero'];

test.each([
  ['trace info', trace, ['info', '--hash']],
  ['trace convert', trace, ['convert', '--out', 'new.trace']],
  ['replay', runReplay, ['--policy', 'lru', '--memory', '1p', '--sample', '0.9', '--threads', '0']],
] as const)(
  'the names in the JSON of tmem %s are those in the manual',
  async (command, run, args) => {
    const directory = workspace();
    writeFileSync(path.join(directory, 'a.trace'), 'time_us,offset,length\n1,0,65536\n2,0,512\n');
    const context = new ScriptedContext();
    Object.defineProperty(context, 'directory', { value: directory });
    expect(await run([...args, '--json', '--progress', 'off', 'a.trace'], context)).toBe(0);
    const names = new Set(
      namesIn(JSON.parse(context.out)).filter((name) => !OPERATIONS.includes(name)),
    );
    const row = rowOf(command);
    expect([...names].filter((name) => !row.includes(`\`${name}\``))).toEqual([]);
    expect(names.size).toBeGreaterThan(5);
  },
);
