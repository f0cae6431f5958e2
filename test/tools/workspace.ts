/** A directory for one test, with images of known content in it. */

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { onTestFinished } from 'vitest';

const KIB = 1024;
export const MIB = 1024 * KIB;

/** The unit in which the content of a test image changes its kind, bytes. */
const BLOCK_BYTES = 64 * KIB;

/** A directory that is gone after the test, with everything that was still using it. */
export function workspace(): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tmem-e2e-'));
  onTestFinished(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** xorshift32: the same content in every run, so that a failure can be repeated. */
function randomWords(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function fillText(block: Buffer, next: () => number): void {
  const words = ['page ', 'cache ', 'zero ', 'slab\n', 'hot ', 'memory ', 'evict ', 'tmem\n'];
  for (let at = 0; at < block.length; ) {
    at += block.write(`${words[next() % words.length]}${next() % 100}`, at, 'latin1');
  }
}

function fillNoise(block: Buffer, next: () => number): void {
  for (let at = 0; at < block.length; at += 4) block.writeUInt32LE(next(), at);
}

/**
 * Writes an image whose blocks are, in turn, text that compresses, a hole, noise that does not
 * compress, and one byte over and over. No two blocks are alike but the holes. Answers its path.
 */
export function makeImage(directory: string, sizeBytes: number, name = 'disk.raw'): string {
  const file = path.join(directory, name);
  const fd = fs.openSync(file, 'w');
  const next = randomWords(0x746d656d);
  const block = Buffer.alloc(BLOCK_BYTES);
  try {
    fs.ftruncateSync(fd, sizeBytes);
    for (let index = 0; index * BLOCK_BYTES < sizeBytes; index++) {
      const kind = index % 4;
      if (kind === 1) continue;
      if (kind === 0) fillText(block, next);
      else if (kind === 2) fillNoise(block, next);
      else block.fill(index);
      const length = Math.min(BLOCK_BYTES, sizeBytes - index * BLOCK_BYTES);
      fs.writeSync(fd, block, 0, length, index * BLOCK_BYTES);
    }
  } finally {
    fs.closeSync(fd);
  }
  return file;
}

/** An image that is one hole. */
export function makeEmptyImage(directory: string, sizeBytes: number, name = 'disk.raw'): string {
  const file = path.join(directory, name);
  fs.writeFileSync(file, '');
  fs.truncateSync(file, sizeBytes);
  return file;
}

/** Whether two files hold the same bytes. */
export function hasSameContent(one: string, other: string): boolean {
  return fs.readFileSync(one).equals(fs.readFileSync(other));
}
