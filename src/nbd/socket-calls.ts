/**
 * recv(2) and sendmsg(2), made on the event loop of sockets that never block. Node's streams do the
 * same by way of their queues, callbacks and a look at the poll set: more work than most requests.
 */

import { endianness } from 'node:os';

/** IOV_MAX: more segments than this are sent by more than one call. */
const SEGMENTS_MAX = 1024;

/** Of <sys/socket.h>, and F_DUPFD_CLOEXEC of <fcntl.h>. */
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const F_DUPFD_CLOEXEC = 1030;

/** Of <sys/socket.h>: an option of the socket itself, which bounds what waits in it for the client. */
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;

/** Words of 32 bits of a `struct iovec`, and of a `struct msghdr` with its fields' places. */
const VECTOR_WORDS = 4;
const MESSAGE = { words: 14, vectors: 4, vectorCount: 6 } as const;

const TWO_POW_32 = 2 ** 32;

export interface SocketCalls {
  /** Another descriptor of the same socket, the receiver's to close; -1 if there is none left. */
  duplicate(fd: number): number;
  /** Lets about so many bytes wait in the socket, or as many as the system allows (wmem_max). */
  enlarge(fd: number, bytes: number): void;
  /** Bytes that have come, now in `buffer`; 0 at the end of the stream; -1 if nothing has come. */
  receive(fd: number, buffer: Buffer): number;
  /** How many bytes of `segments`, in their order, the socket takes at once, or the negative errno. */
  send(fd: number, segments: readonly Buffer[]): number;
}

/** The calls; undefined where koffi or a C library it can load is not installed. */
export async function bindSocketCalls(): Promise<SocketCalls | undefined> {
  try {
    const { default: koffi } = await import('koffi');
    if (koffi.sizeof('void *') !== 8 || endianness() !== 'LE') return undefined;
    const libc = koffi.load('libc.so.6');
    const fcntl = libc.func('fcntl', 'int', ['int', 'int', 'int']);
    const setsockopt = libc.func('setsockopt', 'int', [
      ...['int', 'int', 'int', 'void *', 'uint32_t'],
    ]);
    const recv = libc.func('recv', 'int64_t', ['int', 'int64_t', 'int64_t', 'int']);
    const sendmsg = libc.func('sendmsg', 'int64_t', ['int', 'int64_t', 'int']);
    const addresses = new WeakMap<ArrayBufferLike, number>();
    const addressOf = ({ buffer, byteOffset }: Uint8Array | Uint32Array): number => {
      let address = addresses.get(buffer);
      if (address === undefined) {
        address = Number(koffi.address(new Uint8Array(buffer)));
        addresses.set(buffer, address);
      }
      return address + byteOffset;
    };

    const vectors = new Uint32Array(SEGMENTS_MAX * VECTOR_WORDS);
    const message = new Uint32Array(MESSAGE.words);
    const messageAddress = addressOf(message);
    writeAddress(message, MESSAGE.vectors, addressOf(vectors));
    return {
      duplicate: (fd) => Number(fcntl(fd, F_DUPFD_CLOEXEC, 0)),
      enlarge: (fd, bytes) => {
        const value = Buffer.from(new Int32Array([bytes]).buffer);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, value.length);
      },
      receive: (fd, buffer) => Number(recv(fd, addressOf(buffer), buffer.length, MSG_DONTWAIT)),
      send: (fd, segments) => {
        const count = Math.min(segments.length, SEGMENTS_MAX);
        for (let i = 0; i < count; i++) {
          const segment = segments[i]!;
          writeAddress(vectors, i * VECTOR_WORDS, addressOf(segment));
          vectors[i * VECTOR_WORDS + 2] = segment.length;
        }
        message[MESSAGE.vectorCount] = count;
        const sentBytes = Number(sendmsg(fd, messageAddress, MSG_DONTWAIT | MSG_NOSIGNAL));
        return sentBytes === -1 ? -koffi.errno() : sentBytes;
      },
    };
  } catch {
    return undefined;
  }
}

/** Addresses have 48 bits: numbers hold them exactly. */
function writeAddress(words: Uint32Array, at: number, address: number): void {
  words[at] = address % TWO_POW_32;
  words[at + 1] = address / TWO_POW_32;
}
