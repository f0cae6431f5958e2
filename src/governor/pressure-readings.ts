/**
 * What the kernel says of the memory: stalls (PSI), the room that control groups leave, and the
 * machine's available memory. Whatever cannot be read or understood is unknown, never an error.
 *
 * The reads are synchronous: these files are made by the kernel from memory in microseconds, and a
 * read on libuv's threads would wait behind the image's requests just when memory is short.
 *
 * Sources: Linux, Documentation/accounting/psi.rst, admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst,
 * filesystems/proc.rst (meminfo).
 */

import fs from 'node:fs';
import { join } from 'node:path';
import { LIMIT_FILES, memoryGroupsOf } from '../lib/cgroup.ts';

/** Time in which tasks waited for memory. Shares are of time, 0 to 1; totals only grow. */
export interface Stalls {
  /** At least one task waited: the share of about the last 10 s, and the sum in microseconds. */
  readonly someShare10s: number;
  readonly someTotalUs: number;
  /** All tasks waited at once; 0 where the kernel does not tell. */
  readonly fullTotalUs: number;
}

/** A limit that binds this process, and what is left below it. */
export interface Room {
  readonly limitBytes: number;
  /** What can still be had, page cache that the kernel can drop included; may be negative. */
  readonly freeBytes: number;
}

export interface PressureReadings {
  /** Of the own control group, or its nearest ancestor that tells; undefined where none does. */
  readonly groupStalls: Stalls | undefined;
  readonly machineStalls: Stalls | undefined;
  /** One for every limit of the own group and its ancestors; empty where there is none. */
  readonly groupRooms: readonly Room[];
  readonly machineRoom: Room | undefined;
}

/** More than any of the files has, but for an absurd one, whose rest is not read. */
const READ_BYTES_MAX = 16 * 1024;

/** From here on version 1 means "no limit". */
const LIMIT_BYTES_MAX = 2 ** 60;

const PSI_LINE = /^(some|full) avg10=(\d{1,3}\.\d\d) avg60=\S+ avg300=\S+ total=(\d{1,20})$/;

/** The content of a `memory.pressure` file; undefined when its `some` line is not there. */
export function parseStalls(text: string): Stalls | undefined {
  let some: { share: number; totalUs: number } | undefined;
  let fullTotalUs = 0;
  for (const line of text.split('\n')) {
    const [, kind, percent, total] = PSI_LINE.exec(line) ?? [];
    if (kind === 'some') some = { share: Number(percent) / 100, totalUs: Number(total) };
    if (kind === 'full') fullTotalUs = Number(total);
  }
  if (some === undefined || some.share > 1) return undefined;
  return { someShare10s: some.share, someTotalUs: some.totalUs, fullTotalUs };
}

/** The content of /proc/meminfo as the machine's room; undefined when a line is missing. */
export function parseMeminfo(text: string): Room | undefined {
  const kibibytes = (name: string): number =>
    Number(new RegExp(`^${name}: +(\\d{1,15}) kB$`, 'm').exec(text)?.[1]);
  const room = {
    limitBytes: kibibytes('MemTotal') * 1024,
    freeBytes: kibibytes('MemAvailable') * 1024,
  };
  return room.limitBytes > 0 && room.freeBytes >= 0 ? room : undefined;
}

/**
 * What of a group's `memory.stat` the kernel can drop at once: clean page cache, half of it where it
 * was used more than once. Version 1 writes `total_` before the sums that include descendants.
 */
export function parseDroppable(text: string): number {
  const value = (...names: string[]): number => {
    for (const name of names) {
      const [, digits] = new RegExp(`^${name} (\\d{1,20})$`, 'm').exec(text) ?? [];
      if (digits !== undefined) return Number(digits);
    }
    return 0;
  };
  const clean = value('total_inactive_file', 'inactive_file');
  const used = value('total_active_file', 'active_file');
  const dirty = value('total_dirty', 'file_dirty') + value('total_writeback', 'file_writeback');
  return Math.max(0, clean + used / 2 - dirty);
}

/** The file of a group that tells what it uses, by the version of its hierarchy. */
const CURRENT_FILE = { 1: 'memory.usage_in_bytes', 2: 'memory.current' } as const;

/** Reads all that there is to know, anew each time: groups, limits and mounts may change. */
export class PressureReader {
  readonly #root: string;
  readonly #buffer = Buffer.allocUnsafe(READ_BYTES_MAX);
  #isBlind = false;

  /** `root` is `/` but for tests. */
  constructor(root = '/') {
    this.#root = root;
  }

  /** Undefined where nothing can be opened, for the process or the system has no descriptor left. */
  read(): PressureReadings | undefined {
    this.#isBlind = false;
    const readings = this.#readAll();
    return this.#isBlind ? undefined : readings;
  }

  #readAll(): PressureReadings {
    const groups = memoryGroupsOf(this.#text('proc/self/cgroup'), this.#root);
    const stallGroups = groups.flatMap((each) => (each.version === 2 ? each.directories : []));
    return {
      groupStalls: this.#nearestStalls(stallGroups),
      machineStalls: parseStalls(this.#text('proc/pressure/memory')),
      groupRooms: groups.flatMap(({ version, directories }) =>
        directories.flatMap((directory) => this.#roomOf(directory, version) ?? []),
      ),
      machineRoom: parseMeminfo(this.#text('proc/meminfo')),
    };
  }

  /** Of the own group, or of the nearest ancestor that tells; version 1 has no such file. */
  #nearestStalls(directories: readonly string[]): Stalls | undefined {
    for (const directory of directories) {
      const stalls = parseStalls(this.#textAt(join(directory, 'memory.pressure')));
      if (stalls !== undefined) return stalls;
    }
    return undefined;
  }

  /** The room of one group; undefined where it has no limit, or none that can be read. */
  #roomOf(directory: string, version: 1 | 2): Room | undefined {
    const limits = LIMIT_FILES[version].map((file) => this.#number(join(directory, file)));
    const limitBytes = Math.min(...limits);
    if (limitBytes >= LIMIT_BYTES_MAX) return undefined;
    const usedBytes = this.#number(join(directory, CURRENT_FILE[version]));
    if (usedBytes === Number.POSITIVE_INFINITY) return undefined;
    const droppable = parseDroppable(this.#textAt(join(directory, 'memory.stat')));
    return { limitBytes, freeBytes: limitBytes - usedBytes + Math.min(droppable, usedBytes) };
  }

  /** A file of one number; `max`, nothing and anything else are infinity. */
  #number(path: string): number {
    const text = this.#textAt(path).trim();
    return /^\d{1,20}$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
  }

  #text(path: string): string {
    return this.#textAt(join(this.#root, path));
  }

  /** The start of a file as text, or nothing when it cannot be read. */
  #textAt(path: string): string {
    let descriptor: number | undefined;
    try {
      descriptor = fs.openSync(path, 'r');
      let length = 0;
      while (length < READ_BYTES_MAX) {
        const count = fs.readSync(descriptor, this.#buffer, length, READ_BYTES_MAX - length, null);
        if (count === 0) break;
        length += count;
      }
      return this.#buffer.toString('latin1', 0, length);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'EMFILE' || code === 'ENFILE') this.#isBlind = true;
      return ''; // no such file here, not ours to read, or switched off (PSI answers EOPNOTSUPP)
    } finally {
      if (descriptor !== undefined) fs.closeSync(descriptor);
    }
  }
}
