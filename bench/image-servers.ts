/** The servers of qcow2 images: qemu-nbd in its two cache modes, and this server in its settings. */

import { type ServerContext, type ServerDefinition, startQemu } from './peers.ts';
import { memory, startTmem, type TmemDefinition, warmthFault } from './tmem.ts';

export const IMAGE_PEERS: readonly ServerDefinition[] = [
  {
    id: 'qemu-nbd-qcow2',
    title: 'qemu-nbd, qcow2 through the page cache, its default',
    start: (context) => startQemu(context, 'qemu-nbd-qcow2', 'qcow2', ['--cache=writeback']),
  },
  {
    id: 'qemu-nbd-qcow2-direct',
    title: 'qemu-nbd --cache=none --aio=native, qcow2 around the page cache',
    start: (context) =>
      startQemu(context, 'qemu-nbd-qcow2-direct', 'qcow2', ['--cache=none', '--aio=native']),
  },
];

export const IMAGE_SERVERS: readonly TmemDefinition[] = [
  {
    id: 'tmem-qcow2-warm',
    title: 'tmem, qcow2, every page in memory',
    faultOf: (before, after) => warmthFault(before, after, 'hot'),
    start: (context) => startImage(context, 'tmem-qcow2-warm', ['--mode', 'read-only']),
  },
  {
    id: 'tmem-qcow2',
    title: 'tmem, qcow2 around the page cache, its default',
    start: (context) => startImage(context, 'tmem-qcow2', ['--mode', 'writethrough']),
  },
  {
    id: 'tmem-qcow2-buffered',
    title: 'tmem --buffered, qcow2 through the page cache',
    start: (context) =>
      startImage(context, 'tmem-qcow2-buffered', ['--mode', 'writethrough', '--buffered']),
  },
  {
    id: 'tmem-qcow2-writeback',
    title: 'tmem --mode writeback, qcow2',
    start: (context) => {
      const limit = String(context.image.sizeBytes * 1.5);
      const mode = ['--mode', 'writeback', '--dirty-limit', limit];
      return startImage(context, 'tmem-qcow2-writeback', mode);
    },
  },
];

function startImage(context: ServerContext, id: string, options: readonly string[]) {
  const { path } = context.image;
  const cache = ['--memory', memory(context, 2), '--hot', '90%'];
  return startTmem(context, id, path, ['--format', 'qcow2', ...options, ...cache]);
}
