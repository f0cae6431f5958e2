import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { alignedBuffer } from '../../src/lib/aligned-buffer.ts';
import { IoShare } from '../../src/storage/io-share.ts';
import type { PositionedIo } from '../../src/storage/thread-io.ts';
import { DiskRing } from '../../src/storage/uring/disk-ring.ts';
import { bindUringCalls, type UringCalls } from '../../src/storage/uring/system-calls.ts';
import { pattern } from './contract.ts';
import { temporaryDirectory, temporaryFile } from './temporary-files.ts';

const BLOCK_BYTES = 4096;
const EAGAIN = -11;
const EBADF = -9;
const EPERM = -1;
const ENOSYS = -38;

const calls = await bindUringCalls();
const isThere = calls !== undefined && typeof DiskRing.open(calls) !== 'string';

/** The ring's system calls, of which `enter` can be made to fail. */
function callsWithEnter(enter: UringCalls['enter']): UringCalls {
  if (calls === undefined) throw new Error('no system calls');
  return { ...calls, enter };
}

/** What the page cache has is read at once; its completion then says `result`, as some drivers do. */
function callsThatCompleteWith(real: UringCalls, result: number): UringCalls {
  let parameters: Uint32Array = new Uint32Array();
  let words: Int32Array = new Int32Array();
  return {
    ...real,
    setup: (entries, bytes) => {
      parameters = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
      return real.setup(entries, bytes);
    },
    map: (ring, bytes, offset) => {
      const memory = real.map(ring, bytes, offset);
      if (offset === 0 && memory !== undefined) words = new Int32Array(memory);
      return memory;
    },
    enter: (ring, count) => {
      const taken = real.enter(ring, count);
      const completionsAt = (parameters[25] ?? 0) / 4;
      words[completionsAt + 2] = result;
      return taken;
    },
  };
}

function openRing(from: UringCalls | undefined): DiskRing {
  const ring = from === undefined ? 'no system calls' : DiskRing.open(from);
  if (typeof ring === 'string') throw new Error(ring);
  return ring;
}

function moved(
  io: Pick<PositionedIo, 'read' | 'write'>,
  verb: 'read' | 'write',
  fd: number,
  buffer: Buffer,
  bufferOffset: number,
  length: number,
  position: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    io[verb](fd, buffer, bufferOffset, length, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    );
  });
}

describe.runIf(isThere)('a disk ring', () => {
  const content = pattern(512 * BLOCK_BYTES);
  let ring: DiskRing;
  let fd: number;

  beforeAll(() => {
    ring = openRing(calls);
  });
  beforeEach(() => {
    fd = fs.openSync(temporaryFile(content), 'r+');
  });
  afterEach(() => {
    fs.closeSync(fd);
    vi.restoreAllMocks();
  });

  it('reads into the middle of a buffer, and nothing besides', async () => {
    const buffer = Buffer.alloc(3 * BLOCK_BYTES, 0xee);
    expect(await moved(ring, 'read', fd, buffer, 100, BLOCK_BYTES, 12_345)).toBe(BLOCK_BYTES);
    expect(buffer.subarray(100, 100 + BLOCK_BYTES)).toEqual(
      content.subarray(12_345, 12_345 + BLOCK_BYTES),
    );
    expect(buffer.subarray(0, 100).every((byte) => byte === 0xee)).toBe(true);
    expect(buffer.subarray(100 + BLOCK_BYTES).every((byte) => byte === 0xee)).toBe(true);
  });

  it('reads and writes a slice of memory that others share', async () => {
    const slice = Buffer.from('a word');
    await moved(ring, 'write', fd, slice, 2, 4, 7);
    const back = Buffer.allocUnsafe(6);
    await moved(ring, 'read', fd, back, 0, 6, 6);
    expect(back.toString('latin1', 1, 5)).toBe('word');
    expect(back[0]).toBe(content[6]);
    expect(back[5]).toBe(content[11]);
  });

  it('reads and writes behind four gibibytes', async () => {
    const position = 5 * 2 ** 30 + 17;
    await moved(ring, 'write', fd, Buffer.from('far out'), 0, 7, position);
    const back = Buffer.alloc(7);
    expect(await moved(ring, 'read', fd, back, 0, 7, position)).toBe(7);
    expect(back.toString()).toBe('far out');
  });

  it('answers how much there was at the end of the file', async () => {
    const buffer = Buffer.alloc(100);
    expect(await moved(ring, 'read', fd, buffer, 0, 100, content.length - 60)).toBe(60);
    expect(await moved(ring, 'read', fd, buffer, 0, 100, content.length)).toBe(0);
  });

  it('carries out more requests at once than it has room for, each its own', async () => {
    const file = new IoShare({ name: 'ring', ...ring });
    const memory = alignedBuffer(content.length);
    const blocks = Array.from({ length: 512 }, (_, i) => (i * 37) % 512);
    await Promise.all(
      blocks.map((block) =>
        moved(file, 'read', fd, memory, block * BLOCK_BYTES, BLOCK_BYTES, block * BLOCK_BYTES),
      ),
    );
    expect(memory.equals(content)).toBe(true);
  });

  it('has requests left for a file, though all of another hang', async () => {
    const pipe = path.join(temporaryDirectory(), 'pipe');
    execFileSync('mkfifo', [pipe]);
    const ends = fs.openSync(pipe, 'r+');
    const hung = new IoShare({ name: 'hung', ...ring });
    const buffer = Buffer.alloc(600);
    const hanging = Array.from(buffer, (_, i) => moved(hung, 'read', ends, buffer, i, 1, 0));
    const file = new IoShare({ name: 'file', ...ring });
    const memory = alignedBuffer(BLOCK_BYTES);
    expect(await moved(file, 'read', fd, memory, 0, BLOCK_BYTES, 0)).toBe(BLOCK_BYTES);
    fs.writeSync(ends, Buffer.alloc(buffer.length));
    await Promise.all(hanging);
    fs.closeSync(ends);
  });

  it('lets others have their turn while one reads what is there at once, again and again', async () => {
    const buffer = Buffer.alloc(BLOCK_BYTES);
    let hasTurned = false;
    setImmediate(() => {
      hasTurned = true;
    });
    let count = 0;
    for (; !hasTurned && count < 1000; count++) {
      await moved(ring, 'read', fd, buffer, 0, BLOCK_BYTES, 0);
    }
    expect(count).toBeLessThan(100);
  });

  it('answers failures as the calls of Node do', async () => {
    const closed = fs.openSync(temporaryFile(content), 'r');
    const buffer = Buffer.alloc(BLOCK_BYTES);
    const failure = { code: 'EBADF', syscall: 'write', errno: EBADF };
    await expect(moved(ring, 'write', closed, buffer, 0, 10, 0)).rejects.toMatchObject(failure);
    fs.closeSync(closed);
    await expect(moved(ring, 'read', closed, buffer, 0, 10, 0)).rejects.toMatchObject({
      message: 'EBADF: bad file descriptor, read',
    });
    expect(await moved(ring, 'read', fd, buffer, 0, 10, 0)).toBe(10);
  });

  it('tries again when the kernel takes nothing, or only a part', async () => {
    let refusals = 3;
    const own = openRing(
      callsWithEnter((at, count) => {
        if (refusals-- > 0) return EAGAIN;
        return calls?.enter(at, Math.min(count, 3)) ?? ENOSYS;
      }),
    );
    const memory = alignedBuffer(64 * BLOCK_BYTES);
    await Promise.all(
      Array.from({ length: 64 }, (_, i) =>
        moved(own, 'read', fd, memory, i * BLOCK_BYTES, BLOCK_BYTES, i * BLOCK_BYTES),
      ),
    );
    expect(memory.equals(content.subarray(0, memory.length))).toBe(true);
  });

  it('finds what has ended though nothing tells of it, and again when there was nothing for a while', async () => {
    // What is sent goes to a socket that nobody reads.
    const [heard, silent] = [calls?.socketPair(), calls?.socketPair()];
    if (calls === undefined || heard === undefined || silent === undefined) throw new Error('none');
    const own = openRing({ ...calls, socketPair: () => [heard[0], silent[1]] });
    const pipe = path.join(temporaryDirectory(), 'pipe');
    execFileSync('mkfifo', [pipe]);
    const ends = fs.openSync(pipe, 'r+');
    const buffer = Buffer.alloc(1);
    for (const byte of ['a', 'b']) {
      const read = moved(own, 'read', ends, buffer, 0, 1, 0);
      await new Promise(setImmediate); // it is handed over, and there is nothing yet
      fs.writeSync(ends, byte);
      expect([await read, buffer.toString()]).toEqual([1, byte]);
    }
    fs.closeSync(ends);
  });

  it('that breaks leaves what was not begun, and what comes, to threads', async () => {
    let isBroken = false;
    const own = openRing(
      callsWithEnter((at, count) => (isBroken ? EPERM : (calls?.enter(at, count) ?? ENOSYS))),
    );
    const file = new IoShare({ name: 'ring', ...own });
    const memory = alignedBuffer(content.length);
    const readBlock = (i: number) =>
      moved(file, 'read', fd, memory, i * BLOCK_BYTES, BLOCK_BYTES, i * BLOCK_BYTES);
    const begun = readBlock(0);
    await new Promise(setImmediate);
    isBroken = true;
    const { read } = fs;
    const onThreads = vi.spyOn(fs, 'read').mockImplementation(read);
    await Promise.all(Array.from({ length: 400 }, (_, i) => readBlock(i + 1)));
    expect(await begun).toBe(BLOCK_BYTES);
    await Promise.all(Array.from({ length: 111 }, (_, i) => readBlock(401 + i)));
    expect(onThreads).toHaveBeenCalledTimes(511);
    expect(memory.equals(content)).toBe(true);
  });

  it('asks threads for what the kernel would have had to be asked again', async () => {
    const own = openRing(calls && callsThatCompleteWith(calls, EAGAIN));
    const buffer = Buffer.alloc(BLOCK_BYTES);
    const { read } = fs;
    const onThreads = vi.spyOn(fs, 'read').mockImplementation(read);
    expect(await moved(own, 'read', fd, buffer, 0, BLOCK_BYTES, BLOCK_BYTES)).toBe(BLOCK_BYTES);
    expect(buffer).toEqual(content.subarray(BLOCK_BYTES, 2 * BLOCK_BYTES));
    expect(onThreads).toHaveBeenCalledTimes(1);
  });
});

describe('a system without rings', () => {
  it('is told from one with them, with the reason', () => {
    const none = { setup: () => ENOSYS, map: () => undefined, enter: () => ENOSYS };
    let closed = -1;
    const close = (ring: number) => {
      closed = ring;
    };
    const without = { ...none, close, socketPair: () => undefined, addressOf: () => 0 };
    expect(DiskRing.open(without)).toBe('the system answered ENOSYS');
    // A kernel that gives a ring and says of no feature that it has it.
    expect(DiskRing.open({ ...without, setup: () => 3 })).toBe('the kernel is too old');
    expect(closed).toBe(3);
  });
});
