/** A Node socket on a descriptor that was come by otherwise, read into memory that is chosen. */

import { Socket, type SocketConstructorOpts, type TcpSocketConnectOpts } from 'node:net';

export interface SocketOnOptions {
  readonly writable: boolean;
  /** Where all that comes is read to; it must be used before the callback answers. */
  readonly memory: Buffer;
  /** So many bytes came, at the start of `memory`. Answers whether it may go on reading. */
  readonly onRead: (count: number) => boolean;
}

/** Takes over `fd`, which it closes when it is destroyed; a side that has ended leaves the other open. */
export function socketOn(fd: number, { writable, memory, onRead }: SocketOnOptions): Socket {
  // Node takes `onread` here as it does for `connect`, though its types do not say so.
  const options: SocketConstructorOpts & Pick<TcpSocketConnectOpts, 'onread'> = {
    ...{ fd, readable: true, writable, allowHalfOpen: true },
    onread: { buffer: memory, callback: onRead },
  };
  return new Socket(options);
}
