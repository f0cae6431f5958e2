/**
 * The locks that keep two processes from one image: flock(2) on one of its descriptors, shared for
 * reading and exclusive for writing, and on the same one QEMU's. The kernel drops both when that
 * descriptor is closed or the process dies. They are advisory: they bind those who ask for them, as
 * udev does for block devices.
 */

import fs from 'node:fs';
import { promisify } from 'node:util';
import { systemErrorCode, TmemError } from '../lib/errors.ts';
import { deviceNumbers } from './device-number.ts';
import { FLOCK, type Libc } from './libc.ts';
import { lockAsQemu, WRITTEN_AT } from './qemu-lock.ts';

const statDescriptor = promisify(fs.fstat);

/** Pauses before the lock is tried again, ms: udev looks at a new device for a moment only. */
const RETRY_PAUSES_MS = [10, 40, 150];

/** Someone who holds a lock on the file. */
interface Holder {
  readonly pid: number;
  readonly isWriter: boolean;
}

/** What the kernel says of locks: a table, and who this process is in it. */
interface LockTable {
  /** The text of /proc/locks. */
  readonly text: string;
  /** The process id of the reader, by the same numbering. */
  readonly ownPid: number;
}

/**
 * What came of it: `held`; `none` where locks do not work (no koffi, a file system without them);
 * `own` where only this very process holds one that is in the way.
 */
export type LockOutcome = 'held' | 'none' | 'own';

/**
 * Locks the file for as long as `fd` stays open: exclusively for writing, shared for reading.
 * Rejects with a TmemError `busy` that names the process that is in the way. What this process
 * opens twice it has to know by itself.
 */
export async function lockDescriptor(
  path: string,
  fd: number,
  isReadOnly: boolean,
  libc: Libc | undefined,
): Promise<LockOutcome> {
  if (libc === undefined) return 'none';
  const operation = (isReadOnly ? FLOCK.shared : FLOCK.exclusive) | FLOCK.nonBlocking;
  for (const pauseMs of [...RETRY_PAUSES_MS, 0]) {
    const outcome = await tryBoth(fd, operation, isReadOnly, libc);
    if (outcome === 'held' || outcome === 'none') return outcome;
    const table = await readLockTable();
    const stats = await statDescriptor(fd, { bigint: true });
    let holder: Holder | undefined;
    if (outcome === 'flock') {
      const holders = await holdersOf(stats, table.text);
      holder = holders.find(({ pid }) => pid !== table.ownPid);
      if (holders.length > 0 && holder === undefined) return 'own';
    } else if (pauseMs === 0) {
      holder = await qemuHolderOf(stats, table.ownPid);
    }
    if (pauseMs === 0) throw await refusal(path, isReadOnly, holder);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return 'none';
}

/** Takes both locks, or answers which of them is refused, or that there are none. */
async function tryBoth(
  fd: number,
  operation: number,
  isReadOnly: boolean,
  libc: Libc,
): Promise<'held' | 'none' | 'flock' | 'qemu'> {
  try {
    await libc.flock(fd, operation);
  } catch (cause) {
    // Anything but a refusal is a file system that has no locks.
    return systemErrorCode(cause) === 'EAGAIN' ? 'flock' : 'none';
  }
  return (await lockAsQemu(fd, isReadOnly, libc)) ? 'held' : 'qemu';
}

async function readLockTable(): Promise<LockTable> {
  try {
    const text = await fs.promises.readFile('/proc/locks', 'ascii');
    return { text, ownPid: Number(await fs.promises.readlink('/proc/self')) };
  } catch {
    return { text: '', ownPid: 0 }; // without /proc the holder has no name, but still the lock
  }
}

/** `ordinal: kind ADVISORY access pid major:minor:inode start end`; waiting ones have an arrow. */
const LOCK_LINE = /^\d+: \w+\s+\w+\s+(READ|WRITE)\s+(\d+)\s+([\da-f]+):([\da-f]+):(\d+) /gm;

/** Who holds a lock on the file with these stats, by the text of /proc/locks. */
async function holdersOf(stats: fs.BigIntStats, text: string): Promise<Holder[]> {
  const holders: Holder[] = [];
  for (const [, access, pid, lineMajor, lineMinor, inode] of text.matchAll(LOCK_LINE)) {
    if (inode !== `${stats.ino}`) continue;
    const holder = { pid: Number(pid), isWriter: access === 'WRITE' };
    const isSameDevice = isDeviceOf(stats, lineMajor, lineMinor);
    // btrfs and overlayfs show programs another device than the one that the kernel writes here.
    if (isSameDevice || (await hasOpen(holder.pid, stats))) holders.push(holder);
  }
  return holders;
}

/** The same in /proc/PID/fdinfo/FD of a lock of that open file description, which names no process. */
const OWN_LOCK_LINE = /^lock:\s+\d+: OFDLCK .*?([\da-f]+):([\da-f]+):(\d+) (\d+) (\d+|EOF)$/gm;

/**
 * Who holds QEMU's lock on the file, as far as it is seen: root sees all processes, others their
 * own. Nothing but /proc is looked at, since a file that someone has open may hang whoever asks.
 */
async function qemuHolderOf(stats: fs.BigIntStats, ownPid: number): Promise<Holder | undefined> {
  const { readdir, readFile } = fs.promises;
  for (const name of await readdir('/proc').catch(() => [])) {
    const pid = Number(name);
    if (!(pid > 0) || pid === ownPid) continue;
    const folder = `/proc/${pid}/fdinfo`;
    for (const fd of await readdir(folder).catch(() => [])) {
      const text = await readFile(`${folder}/${fd}`, 'ascii').catch(() => '');
      const ranges = lockedRangesOf(stats, text);
      if (ranges.length === 0) continue;
      const isWriter = ranges.some(([first, last]) => first <= WRITTEN_AT && WRITTEN_AT <= last);
      return { pid, isWriter };
    }
  }
  return undefined;
}

/** The first and the last byte of each lock on the file in the text of an fdinfo. */
function lockedRangesOf(stats: fs.BigIntStats, text: string): (readonly [number, number])[] {
  const ranges: (readonly [number, number])[] = [];
  for (const [, lineMajor, lineMinor, inode, first, last] of text.matchAll(OWN_LOCK_LINE)) {
    if (inode !== `${stats.ino}` || !isDeviceOf(stats, lineMajor, lineMinor)) continue;
    ranges.push([Number(first), last === 'EOF' ? Number.POSITIVE_INFINITY : Number(last)]);
  }
  return ranges;
}

/** Whether the kernel's hexadecimal numbers name the device that the file is on. */
function isDeviceOf({ dev }: fs.BigIntStats, lineMajor = '', lineMinor = ''): boolean {
  const { major, minor } = deviceNumbers(dev);
  return BigInt(`0x${lineMajor}`) === major && BigInt(`0x${lineMinor}`) === minor;
}

/** Whether the process is seen to have that file open. */
async function hasOpen(pid: number, { dev, ino }: fs.BigIntStats): Promise<boolean> {
  try {
    for (const fd of await fs.promises.readdir(`/proc/${pid}/fd`)) {
      const stats = await fs.promises.stat(`/proc/${pid}/fd/${fd}`, { bigint: true });
      if (stats.dev === dev && stats.ino === ino) return true;
    }
  } catch {
    // Gone by now, or another user's: not seen.
  }
  return false;
}

async function refusal(
  path: string,
  isReadOnly: boolean,
  holder: Holder | undefined,
): Promise<TmemError> {
  const who = holder === undefined ? 'another process' : await nameOf(holder.pid);
  const use = holder?.isWriter === false ? 'has it open for reading' : 'has it open for writing';
  const advice =
    holder?.isWriter === false && !isReadOnly
      ? 'stop that process first, or open it read-only'
      : 'stop that process first';
  const context = holder === undefined ? { path } : { path, pid: holder.pid };
  return new TmemError('busy', `cannot lock "${path}": ${who} ${use}; ${advice}`, { context });
}

async function nameOf(pid: number): Promise<string> {
  try {
    const name = await fs.promises.readFile(`/proc/${pid}/comm`, 'utf8');
    return `process ${pid} (${name.trim()})`;
  } catch {
    return `process ${pid}`;
  }
}
