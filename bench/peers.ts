/** The servers that are compared, each with its usual options and on a Unix socket of its own. */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BenchImage } from './image.ts';
import type { Processes, RunningServer } from './processes.ts';

const START_LIMIT_MS = 30_000;
const POLL_MS = 20;

/** What a server needs to know to be started. */
export interface ServerContext {
  readonly processes: Processes;
  readonly image: BenchImage;
  /** A short path: a Unix socket's name has room for about a hundred characters. */
  readonly socketFolder: string;
  /** For files as large as the image. */
  readonly workFolder: string;
  readonly projectFolder: string;
}

/** A way to serve the image. */
export interface ServerDefinition {
  readonly id: string;
  readonly title: string;
  /** A copy of the image that the page cache still holds would only be in its way. */
  readonly goesAroundPageCache?: boolean;
  start(context: ServerContext): Promise<StartedServer>;
}

/** A server that accepts connections. */
export interface StartedServer {
  readonly uri: string;
  readonly process: RunningServer;
  /** Where a Prometheus text page can be fetched, for servers that have one. */
  readonly adminSocket?: string;
}

/** Every peer that serves the image for reading, in the order it is shown. */
export const READ_PEERS: readonly ServerDefinition[] = [
  {
    id: 'qemu-nbd',
    title: 'qemu-nbd, image in the page cache',
    start: (context) =>
      startPeer(context, 'qemu-nbd', (socket) => [
        ...['--read-only', '--format=raw', '--shared=16', '--persistent', '--cache=writeback'],
        ...['--socket', socket, context.image.path],
      ]),
  },
  {
    id: 'nbdkit-file',
    title: 'nbdkit file, image in the page cache',
    start: (context) => startNbdkit(context, 'nbdkit-file', ['-r', 'file', context.image.path]),
  },
  {
    id: 'nbdkit-cache',
    title: 'nbdkit file with the cache filter, caching reads',
    start: (context) =>
      startNbdkit(context, 'nbdkit-cache', [
        ...['-r', '--filter=cache', 'file', context.image.path, 'cache-on-read=true'],
      ]),
  },
  {
    id: 'nbdkit-memory',
    title: 'nbdkit memory',
    start: (context) => startMemory(context, 'nbdkit-memory', []),
  },
  {
    id: 'nbdkit-zstd',
    title: 'nbdkit memory, allocator=zstd',
    start: (context) => startMemory(context, 'nbdkit-zstd', ['allocator=zstd']),
  },
];

/** Every peer that is written to; each has a copy of the image for itself. */
export const WRITE_PEERS: readonly ServerDefinition[] = [
  {
    id: 'qemu-nbd-writeback',
    title: 'qemu-nbd --cache=writeback, copy in the page cache',
    start: (context) => startQemu(context, 'qemu-nbd-writeback', 'raw', ['--cache=writeback']),
  },
  {
    id: 'nbdkit-file-rw',
    title: 'nbdkit file, copy in the page cache',
    start: (context) => startNbdkit(context, 'nbdkit-file-rw', ['file', context.image.path]),
  },
  {
    id: 'qemu-nbd-direct',
    title: 'qemu-nbd --cache=none, around the page cache',
    goesAroundPageCache: true,
    start: (context) =>
      startQemu(context, 'qemu-nbd-direct', 'raw', ['--cache=none', '--aio=native']),
  },
];

/** The programs that the comparison needs, with the Debian package each comes from. */
export const TOOLS: Readonly<Record<string, string>> = {
  fio: 'fio',
  nbdkit: 'nbdkit',
  'qemu-nbd': 'qemu-utils',
  'qemu-img': 'qemu-utils',
  nbdcopy: 'libnbd-bin',
  mke2fs: 'e2fsprogs',
  dumpe2fs: 'e2fsprogs',
};

/**
 * Reads the whole image through a server from front to back and compares it with the file: it
 * warms every cache on the way, and a server that serves something else is not worth measuring.
 */
export async function warm(context: ServerContext, server: StartedServer): Promise<void> {
  const hash = createHash('sha1');
  let bytes = 0;
  // Without --no-extents nbdcopy would not read what the server calls a hole.
  const args = ['--no-extents', server.uri, '-'];
  await context.processes.stream('nbdcopy', args, (chunk) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  const { sizeBytes, sha1 } = context.image;
  if (bytes !== sizeBytes || hash.digest('hex') !== sha1) {
    throw new Error(`${server.process.command} does not serve the image: ${bytes} bytes differ`);
  }
}

/** Waits until a connection is accepted; a server that ends instead is an error with its words. */
export async function waitForSocket(path: string, server: RunningServer): Promise<void> {
  const deadline = performance.now() + START_LIMIT_MS;
  while (!(await accepts(path))) {
    const ending = server.whyEnded();
    if (ending !== undefined) throw new Error(ending);
    if (performance.now() > deadline) {
      throw new Error(`${server.command} does not accept connections on ${path}`);
    }
    await delay(POLL_MS);
  }
}

/** Where a server of that name listens; one that was killed there has left its socket. */
export function freeSocket({ socketFolder }: ServerContext, name: string): string {
  const path = join(socketFolder, `${name}.sock`);
  rmSync(path, { force: true });
  return path;
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

async function startPeer(
  context: ServerContext,
  id: string,
  args: (socket: string) => readonly string[],
  command = id,
): Promise<StartedServer> {
  const socket = freeSocket(context, id);
  // The cache filter keeps its pages in a file below TMPDIR.
  const env = { TMPDIR: context.workFolder };
  const server = context.processes.start(command, args(socket), env);
  await waitForSocket(socket, server);
  return { uri: `nbd+unix:///?socket=${socket}`, process: server };
}

/** Serves the context's image, of that format, for writing. */
export function startQemu(
  context: ServerContext,
  id: string,
  format: 'raw' | 'qcow2',
  cache: readonly string[],
): Promise<StartedServer> {
  const options = [`--format=${format}`, '--shared=16', '--persistent', ...cache];
  const args = (socket: string) => [...options, '--socket', socket, context.image.path];
  return startPeer(context, id, args, 'qemu-nbd');
}

function startNbdkit(
  context: ServerContext,
  id: string,
  args: readonly string[],
): Promise<StartedServer> {
  return startPeer(context, id, (socket) => ['-f', '-U', socket, ...args], 'nbdkit');
}

async function startMemory(
  context: ServerContext,
  id: string,
  options: readonly string[],
): Promise<StartedServer> {
  const size = String(context.image.sizeBytes);
  const server = await startNbdkit(context, id, ['memory', size, ...options]);
  await context.processes.run('nbdcopy', [context.image.path, server.uri]);
  return server;
}
