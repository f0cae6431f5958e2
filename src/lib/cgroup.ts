/**
 * Where the kernel keeps what it knows of the memory of this process's control group. Only names:
 * who reads the files must expect that any of them is missing.
 *
 * Sources: cgroups(7) for /proc/self/cgroup; Linux, Documentation/admin-guide/cgroup-v2.rst and
 * cgroup-v1/memory.rst.
 */

import { join, posix } from 'node:path';

/** The directories of one hierarchy that may have files about the memory of this process. */
export interface MemoryGroups {
  readonly version: 1 | 2;
  /** The own group first, then every ancestor up to the mount: each binds its descendants. */
  readonly directories: readonly string[];
}

/** The files of a group that limit its memory, by the version of the hierarchy: the lowest binds. */
export const LIMIT_FILES = {
  1: ['memory.limit_in_bytes'],
  2: ['memory.max', 'memory.high'],
} as const;

/** No sane hierarchy is deeper; the walk up ends here at the latest. */
const DEPTH_MAX = 64;

/** Where version 2 is mounted: by itself, or beside the hierarchies of version 1. */
const MOUNTS_2 = ['sys/fs/cgroup', 'sys/fs/cgroup/unified'];
const MOUNTS_1 = ['sys/fs/cgroup/memory'];

/**
 * The group and its ancestors, below `mount`. A directory may be missing: inside a container the
 * path may be the host's, while the mount shows the container's own group as its root.
 */
function upwards(mount: string, group: string): string[] {
  const directories: string[] = [];
  let path = posix.normalize(`/${group}`);
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    directories.push(join(mount, path));
    if (path === '/') break;
    path = posix.dirname(path);
  }
  return directories;
}

/**
 * The hierarchies that `selfCgroup`, the content of /proc/self/cgroup, speaks of, as directories
 * below `root`, which is `/` but for tests. Lines that are not understood are passed over.
 */
export function memoryGroupsOf(selfCgroup: string, root = '/'): readonly MemoryGroups[] {
  const groups: MemoryGroups[] = [];
  for (const line of selfCgroup.split('\n')) {
    const [, id, controllers = '', group = ''] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    const version = id === '0' && controllers === '' ? 2 : 1;
    if (version === 1 && !controllers.split(',').includes('memory')) continue;
    for (const mount of version === 2 ? MOUNTS_2 : MOUNTS_1) {
      groups.push({ version, directories: upwards(join(root, mount), group) });
    }
  }
  return groups;
}
