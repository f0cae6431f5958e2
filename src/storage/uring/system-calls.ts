/**
 * The system calls of io_uring(7), which Node does not offer, bound through koffi, for processors of
 * 64 bits and the usual byte order. None of them waits for a disk, so they are made on the event
 * loop; what the page cache has is copied within them.
 */

import fs from 'node:fs';
import { bindCLibrary, type CLibrary } from '../../lib/c-library.ts';

/** io_uring's memory lies behind its descriptor at these offsets. Source: <linux/io_uring.h>. */
export const RING_OFFSET = { queues: 0, submissions: 0x1000_0000 } as const;

/** What is passed to io_uring_setup(2) and comes back filled, bytes. */
export const PARAMETERS_BYTES = 120;

/** Numbers of <asm-generic/unistd.h>, the same for every processor that Node runs on. */
const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;

/** Of <sys/mman.h>, <sys/socket.h>. */
const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
const AF_UNIX = 1;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 0x8_0801;

export interface UringCalls {
  /** The descriptor of a new ring, or the negative errno. */
  setup(entries: number, parameters: Buffer): number;
  /** A part of the ring's memory, or undefined where the system gives none. */
  map(ring: number, bytes: number, offset: number): ArrayBuffer | undefined;
  /** Hands over `count` submissions; how many were taken, or the negative errno. */
  enter(ring: number, count: number): number;
  /** Gives up a ring of which nothing is mapped, or nothing is used. */
  close(ring: number): void;
  /** Two connected stream sockets that do not block; undefined if the system has none left. */
  socketPair(): readonly [number, number] | undefined;
  /** Where the buffer begins; it stays there for as long as its memory is referenced. */
  addressOf(buffer: Buffer): number;
}

/** The calls; undefined where koffi or a C library it can load is not installed. */
export function bindUringCalls(): Promise<UringCalls | undefined> {
  return bindCLibrary(uringCallsOf);
}

function uringCallsOf(library: CLibrary): UringCalls | undefined {
  if (!library.hasUsualLayout) return undefined;
  // syscall(2) is variadic; integers travel the same way as if it were not.
  const setup = library.func('syscall', 'int', ['long', 'uint32_t', 'void *']);
  const enter = library.func('syscall', 'int', [
    ...['long', 'int', 'uint32_t', 'uint32_t', 'uint32_t', 'void *', 'size_t'],
  ]);
  const mmap = library.func('mmap', 'void *', [
    ...['void *', 'size_t', 'int', 'int', 'int', 'int64_t'],
  ]);
  const socketpair = library.func('socketpair', 'int', ['int', 'int', 'int', 'void *']);
  const negativeErrno = (result: number) => (result === -1 ? -library.errno() : result);
  return {
    setup: (entries, parameters) => negativeErrno(setup(SYS_IO_URING_SETUP, entries, parameters)),
    map: (ring, bytes, offset) => {
      const at = mmap(null, bytes, PROT_READ_WRITE, MAP_SHARED_POPULATE, ring, offset);
      return library.memoryAt(at, bytes);
    },
    enter: (ring, count) => negativeErrno(enter(SYS_IO_URING_ENTER, ring, count, 0, 0, null, 0)),
    close: (ring) => fs.closeSync(ring),
    socketPair: () => {
      const pair = new Int32Array(2);
      const type = SOCK_STREAM_NONBLOCK_CLOEXEC;
      if (socketpair(AF_UNIX, type, 0, Buffer.from(pair.buffer)) !== 0) return undefined;
      return [pair[0]!, pair[1]!];
    },
    addressOf: (buffer) => library.addressOf(buffer),
  };
}
