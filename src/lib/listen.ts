/**
 * Listening at an address, for every server of this project: what may be in the way, how a socket
 * that a killed process left behind is cleared away, and one sentence for all that can go wrong.
 */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { linkSync, lstatSync, renameSync } from 'node:fs';
import { lstat, realpath, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import {
  type ErrorKind,
  kindOfSystemError,
  messageOf,
  systemAdvice,
  systemErrorCode,
  TmemError,
} from './errors.ts';
import { formatListenAddress, type ListenAddress } from './listen-address.ts';

/** How long another who begins to listen is waited for, and how often it is looked. */
const TURN_MS_MAX = 2000;
const TURN_POLL_MS = 20;

/** Which files are the Unix sockets of servers that listen. */
const ownSockets = new WeakMap<Server, { readonly path: string; readonly inode: number }>();

/**
 * Makes `server` listen at `address`; answers the address in force, with the port that was given for
 * port 0. The file of a Unix socket at which nobody listens any more is replaced; `stopListening`
 * removes its own. Rejects with a TmemError that names `option`, by which the user chose.
 */
export async function listenAt(
  server: Server,
  address: ListenAddress,
  option: '--listen' | '--admin',
): Promise<ListenAddress> {
  const turn = address.kind === 'unix' ? await takeTurn(address.path) : undefined;
  try {
    await listenReplacing(server, address, option);
  } catch (cause) {
    throw cause instanceof TmemError ? cause : listenError(address, option, cause);
  } finally {
    turn?.close();
  }
  // A failure to accept one client (no descriptor is left) is that client's, not the server's.
  server.on('error', () => undefined);
  if (address.kind === 'unix') {
    ownSockets.set(server, { path: address.path, inode: inodeOf(address.path) });
  }
  const bound = server.address();
  if (address.kind !== 'tcp' || bound === null || typeof bound === 'string') return address;
  return { ...address, port: bound.port };
}

/**
 * Closes what `listenAt` opened. libuv then removes what is at the path, even if somebody else has
 * begun to listen there after ours was deleted: that is put aside meanwhile.
 */
export function stopListening(server: Server): void {
  const { path, inode } = ownSockets.get(server) ?? { path: '', inode: -1 };
  const found = inodeOf(path);
  const aside = `${path}.aside`;
  const isOthers = found !== -1 && found !== inode && succeeds(() => linkSync(path, aside));
  server.close();
  if (isOthers) succeeds(() => renameSync(aside, path));
}

/** -1 where there is nothing that can be looked at. */
function inodeOf(path: string): number {
  let inode = -1;
  succeeds(() => {
    inode = lstatSync(path).ino;
  });
  return inode;
}

function succeeds(act: () => void): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}

/**
 * Who begins to listen at the path is alone with it: of two who find an old socket there, the second
 * would else take away the new one of the first, which does not answer before it is complete. What is
 * held is a name of Linux' own for sockets, which no file stands for and which ends with its process;
 * undefined where there are none, or where somebody holds it for longer than it takes.
 */
async function takeTurn(path: string): Promise<Server | undefined> {
  const place = await realpath(dirname(path)).catch(() => dirname(path));
  const name = createHash('sha256')
    .update(join(place, basename(path)))
    .digest('hex');
  for (const end = Date.now() + TURN_MS_MAX; Date.now() < end; await setTimeout(TURN_POLL_MS)) {
    const turn = createServer((socket) => socket.destroy());
    try {
      await listenOnce(turn, { kind: 'unix', path: `\0tmem ${name}` });
      return turn;
    } catch (cause) {
      if (systemErrorCode(cause) !== 'EADDRINUSE') return undefined;
    }
  }
  return undefined;
}

async function listenReplacing(
  server: Server,
  address: ListenAddress,
  option: string,
): Promise<void> {
  try {
    await listenOnce(server, address);
  } catch (cause) {
    if (address.kind !== 'unix') throw cause;
    // libuv calls a missing directory EACCES, as Windows does: this fails with what is the case.
    await stat(dirname(address.path));
    if (systemErrorCode(cause) !== 'EADDRINUSE') throw cause;
    // A connection to a regular file is refused as well, so what it is must be known first.
    const found = await lstat(address.path);
    if (!found.isSocket()) {
      const what = found.isSymbolicLink() ? 'a symbolic link' : 'a file that is no socket';
      const advice = `${what} is there; remove it or choose another with ${option}`;
      throw new TmemError('busy', describeFailure(address, advice), { cause });
    }
    if (await isAnswering(address.path)) throw cause;
    await unlink(address.path);
    await listenOnce(server, address);
  }
}

async function listenOnce(server: Server, address: ListenAddress): Promise<void> {
  const listening = once(server, 'listening');
  if (address.kind === 'unix') server.listen({ path: address.path });
  else if (address.kind === 'tcp') server.listen({ host: address.host, port: address.port });
  else server.listen({ fd: address.fd });
  await listening;
}

/** Whether somebody listens at the socket; one who cannot be asked counts as such. */
async function isAnswering(path: string): Promise<boolean> {
  const probe = connect({ path });
  try {
    await once(probe, 'connect');
    return true;
  } catch (cause) {
    return systemErrorCode(cause) !== 'ECONNREFUSED';
  } finally {
    probe.destroy();
  }
}

/** What is wrong and what to do, for the codes a user meets; `…` stands for the option. */
const ADVICE_BY_CODE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'it is in use; stop what listens there or choose another with …',
  EACCES: 'the system does not allow it; choose another with …',
  EPERM: 'the system does not allow it; choose another with …',
  EADDRNOTAVAIL: 'this machine has no such address; choose another with …',
  ENOTFOUND: 'the host is unknown; choose another with …',
  EAI_AGAIN: 'the host could not be looked up; choose another with …',
  ENOENT: 'its directory does not exist; make it or choose another with …',
  ENOTDIR: 'its directory is a file; choose another with …',
};

function listenError(address: ListenAddress, option: string, cause: unknown): TmemError {
  const code = systemErrorCode(cause) ?? '';
  if (address.kind === 'fd') {
    const advice = 'LISTEN_FDS says that a listening socket is there, and it is not; unset it';
    return new TmemError('usage', describeFailure(address, advice), { cause });
  }
  const fallback = `${messageOf(cause)}; ${systemAdvice(cause, 'choose another with …')}`;
  const advice = (ADVICE_BY_CODE[code] ?? fallback).replace('…', option);
  return new TmemError(kindOf(code, cause), describeFailure(address, advice), { cause });
}

function describeFailure(address: ListenAddress, advice: string): string {
  return `cannot listen at ${formatListenAddress(address)}: ${advice}`;
}

/** A host that is unknown is for the user to change. */
function kindOf(code: string, cause: unknown): ErrorKind {
  return code === 'ENOTFOUND' || code === 'EAI_AGAIN' ? 'usage' : kindOfSystemError(cause);
}
