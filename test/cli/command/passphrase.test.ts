import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { Passphrases } from '../../../src/cli/command/passphrase.ts';
import { workspace } from '../../tools/workspace.ts';

test('a passphrase file that several images name is read once, and never kept for another', () => {
  const directory = workspace();
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

test('a passphrase has 4096 bytes at most, and an endless device is not read whole', () => {
  const file = path.join(workspace(), 'passphrase');
  writeFileSync(file, `${'a'.repeat(4096)}\n`);
  expect(new Passphrases().of(file)).toHaveLength(4096);
  writeFileSync(file, 'a'.repeat(4097));
  expect(() => new Passphrases().of(file)).toThrow(/holds no passphrase/);
  const before = process.memoryUsage().arrayBuffers;
  expect(() => new Passphrases().of('/dev/zero')).toThrow(/holds no passphrase/);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
});
