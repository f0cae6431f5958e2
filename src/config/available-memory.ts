/** How much memory this process may use: what the machine has, or less if a cgroup says so. */

import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { LIMIT_FILES, memoryGroupsOf } from '../lib/cgroup.ts';

export interface AvailableMemory {
  readonly bytes: number;
  /** For messages: "this machine" or "this cgroup". */
  readonly owner: string;
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // not this version of cgroups, or not ours to read: no limit is known from it
  }
}

/** A limit file's content in bytes; `max`, nothing and the absurdly large all mean no limit. */
function limitIn(path: string): number {
  const text = readOrEmpty(path).trim();
  return /^\d+$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
}

/**
 * Reads the cgroup limits below `root`, which is `/` but for tests, and answers the lowest of them
 * and of `machineBytes`.
 */
export function availableMemory(root = '/', machineBytes = totalmem()): AvailableMemory {
  let limit = Number.POSITIVE_INFINITY;
  const selfCgroup = readOrEmpty(join(root, 'proc/self/cgroup'));
  for (const { version, directories } of memoryGroupsOf(selfCgroup, root)) {
    for (const directory of directories) {
      for (const file of LIMIT_FILES[version]) {
        limit = Math.min(limit, limitIn(join(directory, file)));
      }
    }
  }
  return limit < machineBytes
    ? { bytes: limit, owner: 'this cgroup' }
    : { bytes: machineBytes, owner: 'this machine' };
}
