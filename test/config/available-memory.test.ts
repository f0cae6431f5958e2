import { beforeEach, expect, test } from 'vitest';
import { availableMemory } from '../../src/config/available-memory.ts';
import { temporaryDirectory, writeFilesBelow } from '../storage/temporary-files.ts';

const GIB = 1024 ** 3;
const MACHINE = 16 * GIB;
let root = '';

beforeEach(() => {
  root = temporaryDirectory();
});

/** Writes files below the root that stands for `/`. */
const given = (files: Record<string, string | number>): void => writeFilesBelow(root, files);

const bytes = (): number => availableMemory(root, MACHINE).bytes;

test('availableMemory is the machine’s where there are no cgroups', () => {
  expect(availableMemory(root, MACHINE)).toEqual({ bytes: MACHINE, owner: 'this machine' });
});

test('availableMemory takes memory.max of the own group (v2)', () => {
  given({ 'proc/self/cgroup': '0::/a/b', 'sys/fs/cgroup/a/b/memory.max': 2 * GIB });
  expect(availableMemory(root, MACHINE)).toEqual({ bytes: 2 * GIB, owner: 'this cgroup' });
});

test('availableMemory takes the lowest limit of all ancestors, memory.high included (v2)', () => {
  given({
    'proc/self/cgroup': '0::/a/b/c',
    'sys/fs/cgroup/a/b/c/memory.max': 'max',
    'sys/fs/cgroup/a/b/memory.max': 3 * GIB,
    'sys/fs/cgroup/a/memory.high': GIB,
    'sys/fs/cgroup/memory.max': 8 * GIB,
  });
  expect(bytes()).toBe(GIB);
});

test('availableMemory ignores limits above the machine’s memory, and no limit at all (v1, v2)', () => {
  given({
    'proc/self/cgroup': '4:cpu,memory:/a\n0::/a',
    'sys/fs/cgroup/memory/a/memory.limit_in_bytes': '9223372036854771712',
    'sys/fs/cgroup/a/memory.max': 'max',
  });
  expect(bytes()).toBe(MACHINE);
});

test('availableMemory takes memory.limit_in_bytes up the hierarchy (v1)', () => {
  given({
    'proc/self/cgroup': '9:name=systemd:/x\n4:cpu,memory:/a/b',
    'sys/fs/cgroup/memory/a/b/memory.limit_in_bytes': 4 * GIB,
    'sys/fs/cgroup/memory/a/memory.limit_in_bytes': 2 * GIB,
  });
  expect(bytes()).toBe(2 * GIB);
});

test('availableMemory finds a container’s limit at the mount when its path is the host’s (v1)', () => {
  given({
    'proc/self/cgroup': '4:memory:/docker/0123',
    'sys/fs/cgroup/memory/memory.limit_in_bytes': GIB,
  });
  expect(bytes()).toBe(GIB);
});

test('availableMemory never leaves the mount, whatever the path says', () => {
  given({
    'proc/self/cgroup': '0::/../../..',
    'sys/fs/memory.max': GIB,
    'sys/fs/cgroup/memory.max': 2 * GIB,
  });
  expect(bytes()).toBe(2 * GIB);
});
