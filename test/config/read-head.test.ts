import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readHead } from '../../src/config/read-head.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';

test('a pipe is read to its end, though it holds less at a time', () => {
  const pipe = path.join(temporaryDirectory(), 'pipe');
  execFileSync('mkfifo', [pipe]);
  const writer = spawn('sh', ['-c', `head -c 200000 /dev/zero > '${pipe}'`]);
  onTestFinished(() => void writer.kill());
  expect(readHead(pipe, 1024 * 1024)).toHaveLength(200_000);
});

test('of a file, and of an endless device, there is no more than was asked for', () => {
  const file = path.join(temporaryDirectory(), 'file');
  writeFileSync(file, 'abcdef');
  expect(readHead(file, 4).toString()).toBe('abcd');
  expect(readHead(file, 9).toString()).toBe('abcdef');
  expect(readHead('/dev/zero', 9)).toHaveLength(9);
});
