/**
 * How much memory this process may use: what the machine has, or less if a cgroup says so.
 *
 * Sources: Linux, Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.high) and
 * cgroup-v1/memory.rst (memory.limit_in_bytes); cgroups(7) for /proc/self/cgroup.
 */

import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join, posix } from 'node:path';

export interface AvailableMemory {
  readonly bytes: number;
  /** For messages: "this machine" or "this cgroup". */
  readonly owner: string;
}

/** No sane hierarchy is deeper; the walk up ends here at the latest. */
const DEPTH_MAX = 64;

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
 * The lowest of the limits from `group` up to the mount: every ancestor binds its descendants. A
 * group that is not there is passed over, for inside a container the path may be the host's while
 * the mount shows the container's own group as its root.
 */
function lowestLimit(mount: string, group: string, files: readonly string[]): number {
  let lowest = Number.POSITIVE_INFINITY;
  let path = posix.normalize(`/${group}`);
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    for (const file of files) lowest = Math.min(lowest, limitIn(join(mount, path, file)));
    if (path === '/') break;
    path = posix.dirname(path);
  }
  return lowest;
}

/**
 * Reads the cgroup limits below `root`, which is `/` but for tests, and answers the lowest of them
 * and of `machineBytes`.
 */
export function availableMemory(root = '/', machineBytes = totalmem()): AvailableMemory {
  let limit = Number.POSITIVE_INFINITY;
  for (const line of readOrEmpty(join(root, 'proc/self/cgroup')).split('\n')) {
    const [, id, controllers = '', group = ''] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    if (id === '0' && controllers === '') {
      const mount = join(root, 'sys/fs/cgroup');
      limit = Math.min(limit, lowestLimit(mount, group, ['memory.max', 'memory.high']));
    } else if (controllers.split(',').includes('memory')) {
      const mount = join(root, 'sys/fs/cgroup/memory');
      limit = Math.min(limit, lowestLimit(mount, group, ['memory.limit_in_bytes']));
    }
  }
  return limit < machineBytes
    ? { bytes: limit, owner: 'this cgroup' }
    : { bytes: machineBytes, owner: 'this machine' };
}
