import fs, { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test, vi } from 'vitest';
import {
  PressureReader,
  type PressureReadings,
  parseDroppable,
  parseMeminfo,
  parseStalls,
} from '../../src/governor/pressure-readings.ts';
import { temporaryDirectory, writeFilesBelow } from '../storage/temporary-files.ts';
import { fc } from '../tools/seed.ts';
import { GIB, MIB } from './scripted.ts';

const SOME = 'some avg10=12.50 avg60=3.00 avg300=0.10 total=123456';
const FULL = 'full avg10=1.00 avg60=0.50 avg300=0.00 total=789';
const STALLS = { someShare10s: 0.125, someTotalUs: 123456, fullTotalUs: 789 };
const NOTHING = {
  groupStalls: undefined,
  machineStalls: undefined,
  groupRooms: [],
  machineRoom: undefined,
};
let root = '';

beforeEach(() => {
  root = temporaryDirectory();
});

/** Writes files below the root that stands for `/`. */
const given = (files: Record<string, string | number>): void => writeFilesBelow(root, files);

function read(): PressureReadings {
  const readings = new PressureReader(root).read();
  if (readings === undefined) throw new Error('no descriptor left');
  return readings;
}

test.each(['EMFILE', 'ENFILE'])(
  'without a descriptor (%s) there are no readings, until there is one',
  (code) => {
    given({ 'proc/pressure/memory': SOME });
    const reader = new PressureReader(root);
    const open = vi.spyOn(fs, 'openSync').mockImplementation(() => {
      throw Object.assign(new Error(code), { code });
    });
    expect(reader.read()).toBeUndefined();
    open.mockRestore();
    expect(reader.read()?.machineStalls?.someShare10s).toBe(0.125);
  },
);

test('parseStalls takes some and full, passes over other lines, and does without full', () => {
  expect(parseStalls(`${SOME}\n${FULL}\n`)).toEqual(STALLS);
  expect(parseStalls(`most avg10=1\n${SOME}\n`)).toEqual({ ...STALLS, fullTotalUs: 0 });
});

test.each([
  '',
  FULL,
  SOME.replace('12.50', '101.00'),
  SOME.replace('12.50', '-1.00'),
  SOME.replace('total=123456', 'total='),
  SOME.replace('total=123456', 'total=1e9'),
  ` ${SOME}`,
])('parseStalls knows nothing from %j', (text) => {
  expect(parseStalls(text)).toBeUndefined();
});

test('parseMeminfo takes MemTotal and MemAvailable, and nothing when one is missing', () => {
  const text = 'MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n';
  expect(parseMeminfo(text)).toEqual({ limitBytes: 2 * MIB, freeBytes: MIB });
  expect(parseMeminfo(text.replace('MemAvailable', 'MemAvail'))).toBeUndefined();
  expect(parseMeminfo(text.replace('2048', '0'))).toBeUndefined();
});

test('parseDroppable counts clean page cache, half of what was used, and sums of version 1', () => {
  const lines = ['inactive_file 1000', 'active_file 400', 'file_dirty 50', 'file_writeback 30'];
  expect(parseDroppable(lines.join('\n'))).toBe(1120);
  const sums = ['inactive_file 1', 'total_inactive_file 600', 'total_dirty 100'];
  expect(parseDroppable(sums.join('\n'))).toBe(500);
  expect(parseDroppable('file_dirty 10')).toBe(0);
});

test('a reader knows nothing where there is nothing', () => {
  expect(read()).toEqual(NOTHING);
  mkdirSync(join(root, 'proc/pressure/memory'), { recursive: true });
  expect(read()).toEqual(NOTHING);
});

test('a reader takes every limit of the group and its ancestors, page cache aside (v2)', () => {
  given({
    'proc/self/cgroup': '0::/a/b',
    'sys/fs/cgroup/a/b/memory.max': 'max',
    'sys/fs/cgroup/a/b/memory.high': 'max',
    'sys/fs/cgroup/a/b/memory.current': 10,
    'sys/fs/cgroup/a/memory.max': 4 * GIB,
    'sys/fs/cgroup/a/memory.high': 3 * GIB,
    'sys/fs/cgroup/a/memory.current': 2 * GIB,
    'sys/fs/cgroup/a/memory.stat': `anon 5\ninactive_file ${MIB}`,
    'sys/fs/cgroup/memory.max': GIB,
  });
  // The last has a limit, and no memory.current to compare it with.
  expect(read().groupRooms).toEqual([{ limitBytes: 3 * GIB, freeBytes: GIB + MIB }]);
});

test('a reader believes no more page cache than the group uses', () => {
  given({
    'proc/self/cgroup': '0::/a',
    'sys/fs/cgroup/a/memory.max': GIB,
    'sys/fs/cgroup/a/memory.current': MIB,
    'sys/fs/cgroup/a/memory.stat': `inactive_file ${8 * MIB}`,
  });
  expect(read().groupRooms).toEqual([{ limitBytes: GIB, freeBytes: GIB }]);
});

test('a reader takes limits of version 1, and those that mean none as none', () => {
  given({
    'proc/self/cgroup': '4:cpu,memory:/a\n2:cpuset:/c\n0::/a',
    'sys/fs/cgroup/memory/a/memory.limit_in_bytes': GIB,
    'sys/fs/cgroup/memory/a/memory.usage_in_bytes': 2 * GIB,
    'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712',
    'sys/fs/cgroup/memory/memory.usage_in_bytes': 0,
  });
  expect(read().groupRooms).toEqual([{ limitBytes: GIB, freeBytes: -GIB }]);
});

test('a reader takes stalls of the nearest group that tells, beside version 1 too', () => {
  given({ 'proc/self/cgroup': '4:memory:/a\n0::/a/b', 'proc/pressure/memory': FULL });
  given({ 'sys/fs/cgroup/unified/a/b/memory.pressure': 'off' });
  given({ 'sys/fs/cgroup/unified/a/memory.pressure': `${SOME}\n${FULL}` });
  expect(read()).toMatchObject({ groupStalls: STALLS, machineStalls: undefined });
  given({ 'proc/pressure/memory': SOME, 'sys/fs/cgroup/a/b/memory.pressure': SOME });
  expect(read().groupStalls?.fullTotalUs).toBe(0);
  expect(read().machineStalls?.someTotalUs).toBe(123456);
});

test('a reader takes any content without an exception, and numbers that are numbers', () => {
  const files = ['memory.max', 'memory.high', 'memory.current', 'memory.stat', 'memory.pressure'];
  const paths = [...files.map((file) => `sys/fs/cgroup/a/${file}`), 'proc/meminfo'];
  const content = fc.oneof(
    fc.string({ maxLength: 60 }),
    fc.constantFrom('-1', '0', '99999999999999999999', '1'.repeat(40_000), SOME, 'max', 'NaN'),
  );
  const check = (contents: readonly string[], group: string): void => {
    given({ 'proc/self/cgroup': `0::/a\n${group}`, 'proc/pressure/memory': group });
    given(Object.fromEntries(paths.map((path, i) => [path, contents[i] ?? ''])));
    for (const { limitBytes, freeBytes } of read().groupRooms) {
      expect(Number.isFinite(limitBytes) && Number.isFinite(freeBytes)).toBe(true);
    }
  };
  const tuple = fc.array(content, { minLength: paths.length, maxLength: paths.length });
  fc.assert(fc.property(tuple, content, check), { numRuns: 200 });
});

test('a reader understands this machine: what has a file is known', () => {
  const { machineRoom, machineStalls } = new PressureReader().read() ?? NOTHING;
  expect(machineRoom?.limitBytes).toBeGreaterThan(machineRoom?.freeBytes ?? Number.NaN);
  expect(machineStalls !== undefined).toBe(isReadable('/proc/pressure/memory'));
});

/** Where PSI is switched off the file is there, and reading it fails. */
function isReadable(path: string): boolean {
  try {
    return existsSync(path) && readFileSync(path).length > 0;
  } catch {
    return false;
  }
}
