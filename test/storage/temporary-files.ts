/** Files that a test makes and that are gone after it. */

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach } from 'vitest';

const directories: string[] = [];

afterEach(() => {
  for (const directory of directories.splice(0)) {
    fs.rmSync(directory, { recursive: true, force: true });
  }
});

/** The path of a file of its own with that content, or of that many bytes, all of them a hole. */
export function temporaryFile(content: Buffer | number, root = os.tmpdir()): string {
  const file = path.join(temporaryDirectory(root), 'image.raw');
  fs.writeFileSync(file, typeof content === 'number' ? '' : content);
  if (typeof content === 'number') fs.truncateSync(file, content);
  return file;
}

/** An empty directory of its own. */
export function temporaryDirectory(root = os.tmpdir()): string {
  const directory = fs.mkdtempSync(path.join(root, 'tmem-test-'));
  directories.push(directory);
  return directory;
}

/** Writes lines of text to files, each named by its path below `root`. */
export function writeFilesBelow(root: string, files: Record<string, string | number>): void {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(root, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, `${content}\n`);
  }
}
