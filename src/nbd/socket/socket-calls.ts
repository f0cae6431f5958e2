/**
 * recv(2) and sendmsg(2), made on the event loop of sockets that never block. Node's streams do the
 * same by way of their queues, callbacks and a look at the poll set: more work than most requests.
 */

import { bindCLibrary, type CLibrary } from '../../lib/c-library.ts';
import { setUint64 } from '../../lib/uint64.ts';

/** IOV_MAX: more segments than this are sent by more than one call. */
const SEGMENTS_MAX = 1024;

/** Of <sys/socket.h>, and F_DUPFD_CLOEXEC of <fcntl.h>. */
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const F_DUPFD_CLOEXEC = 1030;

/** Of <sys/socket.h>: an option of the socket itself, which bounds what waits in it for the client. */
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;

/** Of <asm-generic/ioctls.h>, also known as SIOCOUTQ. */
const TIOCOUTQ = 0x5411;

/** Words of 32 bits of a `struct iovec`, and of a `struct msghdr` with its fields' places. */
const VECTOR_WORDS = 4;
const MESSAGE = { words: 14, vectors: 4, vectorCount: 6 } as const;

export interface SocketCalls {
  /** Another descriptor of the same socket, the receiver's to close; -1 if there is none left. */
  duplicate(fd: number): number;
  /** Lets about so many bytes wait in the socket, or as many as the system allows (wmem_max). */
  enlarge(fd: number, bytes: number): void;
  /** Bytes that have come, now in `buffer`; 0 at the end of the stream; -1 if nothing has come. */
  receive(fd: number, buffer: Buffer): number;
  /** How many bytes of `segments`, in their order, the socket takes at once, or the negative errno. */
  send(fd: number, segments: readonly Buffer[]): number;
  /** Whether all that was sent is there: TCP's peer has acknowledged it, a Unix one has read it. */
  isDelivered(fd: number): boolean;
}

/** The calls; undefined where koffi or a C library it can load is not installed. */
export function bindSocketCalls(): Promise<SocketCalls | undefined> {
  return bindCLibrary(socketCallsOf);
}

function socketCallsOf(library: CLibrary): SocketCalls | undefined {
  if (!library.hasUsualLayout) return undefined;
  const fcntl = library.func('fcntl', 'int', ['int', 'int', 'int']);
  const optionTypes = ['int', 'int', 'int', 'void *', 'uint32_t'];
  const setsockopt = library.func('setsockopt', 'int', optionTypes);
  const ioctl = library.func('ioctl', 'int', ['int', 'unsigned long', 'void *']);
  const recv = library.func('recv', 'int64_t', ['int', 'int64_t', 'int64_t', 'int']);
  const sendmsg = library.func('sendmsg', 'int64_t', ['int', 'int64_t', 'int']);
  const vectors = new Uint32Array(SEGMENTS_MAX * VECTOR_WORDS);
  const message = new Uint32Array(MESSAGE.words);
  const messageAddress = library.addressOf(message);
  setUint64(message, MESSAGE.vectors, library.addressOf(vectors));
  return {
    duplicate: (fd) => Number(fcntl(fd, F_DUPFD_CLOEXEC, 0)),
    enlarge: (fd, bytes) => {
      const value = Buffer.from(new Int32Array([bytes]).buffer);
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, value.length);
    },
    receive: (fd, buffer) =>
      Number(recv(fd, library.addressOf(buffer), buffer.length, MSG_DONTWAIT)),
    send: (fd, segments) => {
      const count = Math.min(segments.length, SEGMENTS_MAX);
      for (let i = 0; i < count; i++) {
        const segment = segments[i]!;
        setUint64(vectors, i * VECTOR_WORDS, library.addressOf(segment));
        vectors[i * VECTOR_WORDS + 2] = segment.length;
      }
      message[MESSAGE.vectorCount] = count;
      const sentBytes = Number(sendmsg(fd, messageAddress, MSG_DONTWAIT | MSG_NOSIGNAL));
      return sentBytes === -1 ? -library.errno() : sentBytes;
    },
    isDelivered: (fd) => {
      const waiting = new Int32Array(1);
      return ioctl(fd, TIOCOUTQ, waiting) === 0 && waiting[0] === 0;
    },
  };
}
