/** An export in this process as a workload's connection. */

import type { Storage } from '../../src/storage/storage.ts';
import { exportOn, makeMemory, read, write } from '../export/fixture.ts';
import { SECTOR_BYTES } from './crash-sectors.ts';
import type { Connection, CrashRequest, Outcome } from './crash-workload.ts';

const memory = makeMemory();

/** An export of `storage` that writes in that mode. */
function openExport(storage: Storage, mode: string): ReturnType<typeof exportOn> {
  if (mode === 'writethrough') return exportOn(storage, memory);
  throw new Error(`no export is made for mode ${mode} here`);
}

/** The modes that `connectToExport` knows. */
export const EXPORT_MODES: readonly string[] = ['writethrough'];

/** A new export of `storage`, and how to reach it as a server's connections do. */
export function connectToExport(
  storage: Storage,
  mode: string,
): { connection: Connection; forget: () => void } {
  const parts = openExport(storage, mode);
  const { target, cache } = parts;
  const connection = async (request: CrashRequest): Promise<Outcome> => {
    const { kind, hasFua, payload } = request;
    const [offset, length] = [request.first * SECTOR_BYTES, request.count * SECTOR_BYTES];
    if (kind === 'read') return read(parts, offset, length);
    if (kind === 'write' && payload !== undefined) await write(parts, offset, payload);
    else if (kind === 'zeroes') await target.writeZeroes(offset, length, true);
    else if (kind === 'trim') await target.trim(offset, length);
    if (kind === 'flush' || hasFua) await target.sync();
    return undefined;
  };
  return { connection, forget: () => cache.pool.destroy() };
}
