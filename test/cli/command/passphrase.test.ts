import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { Passphrases } from '../../../src/cli/command/passphrase.ts';

test('a passphrase file that several images name is read once, and never kept for another', (context) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'tmem-passphrase-'));
  context.onTestFinished(() => rmSync(directory, { recursive: true }));
  const [one = '', other = ''] = ['one', 'other'].map((name) => path.join(directory, name));
  writeFileSync(one, 'first\n');
  writeFileSync(other, 'second');
  const passphrases = new Passphrases();
  expect(passphrases.of(one).toString()).toBe('first');
  rmSync(one);
  expect(passphrases.of(one).toString()).toBe('first');
  expect(passphrases.of(other).toString()).toBe('second');
  expect(() => new Passphrases().of(one)).toThrow(/cannot read the passphrase/);
});
