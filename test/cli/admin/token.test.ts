import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { readToken } from '../../../src/cli/admin/options.ts';
import { workspace } from '../../tools/workspace.ts';

test('readToken takes the longest token there may be, and says how long that is', () => {
  const file = path.join(workspace(), 'token');
  fs.writeFileSync(file, `${'a'.repeat(512)}\r\n`);
  expect(readToken(file)).toBe('a'.repeat(512));
  for (const content of ['', 'a b', 'a'.repeat(513)]) {
    fs.writeFileSync(file, content);
    expect(() => readToken(file)).toThrow(/ holds no token; .* of at most 512 characters$/);
  }
});

test('readToken says of symbolic links in a circle that they are', () => {
  const file = path.join(workspace(), 'token');
  fs.symlinkSync('token', file);
  expect(() => readToken(file)).toThrow(/symbolic links lead in a circle; check where they lead$/);
});
