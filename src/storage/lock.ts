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
    const refused = await tryBoth(fd, operation, isReadOnly, libc);
    if (refused === 'held' || refused === 'none') return refused;
    const table = await readLockTable();
    const stats = await statDescriptor(fd, { bigint: true });
    const holders =
      refused === 'qemu' ? await qemuHoldersOf(stats, table) : await holdersOf(stats, table.text);
    const others = holders.filter(({ pid }) => pid !== table.ownPid);
    if (holders.length > 0 && others.length === 0) return 'own';
    if (pauseMs === 0) throw await refusal(path, isReadOnly, others[0]);
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
  try {
    return (await lockAsQemu(fd, isReadOnly, libc)) ? 'held' : 'qemu';
  } catch {
    return 'held'; // there are none of QEMU's kind here: then QEMU does without them as well
  }
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

/** The same of a lock of an open file description, which names no process; neighbours are one. */
const RANGE_LINE = /^\d+: OFDLCK .*:(\d+) (\d+) (\d+)$/gm;

/** Who holds a lock on the file with these stats, by the text of /proc/locks. */
async function holdersOf(stats: fs.BigIntStats, text: string): Promise<Holder[]> {
  const { major, minor } = deviceNumbers(stats.dev);
  const holders: Holder[] = [];
  for (const [, access, pid, lineMajor, lineMinor, inode] of text.matchAll(LOCK_LINE)) {
    if (inode !== `${stats.ino}`) continue;
    const holder = { pid: Number(pid), isWriter: access === 'WRITE' };
    const isSameDevice = BigInt(`0x${lineMajor}`) === major && BigInt(`0x${lineMinor}`) === minor;
    // btrfs and overlayfs show programs another device than the one that the kernel writes here.
    if (isSameDevice || (await hasOpen(holder.pid, stats))) holders.push(holder);
  }
  return holders;
}

/**
 * Who may hold QEMU's lock on the file: a lock of an open file description names no process, so
 * these are all that have it open. None is found of another user's, unless this one's is root.
 */
async function qemuHoldersOf(stats: fs.BigIntStats, { text, ownPid }: LockTable) {
  let isWriter = false;
  for (const [, inode, first, last] of text.matchAll(RANGE_LINE)) {
    if (inode !== `${stats.ino}`) continue;
    isWriter ||= Number(first) <= WRITTEN_AT && Number(last) >= WRITTEN_AT;
  }
  const holders: Holder[] = [];
  for (const name of await fs.promises.readdir('/proc').catch(() => [])) {
    const pid = Number(name);
    if (pid > 0 && pid !== ownPid && (await hasOpen(pid, stats))) holders.push({ pid, isWriter });
  }
  return holders;
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
