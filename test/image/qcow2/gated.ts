/** Storages in memory that tell what is asked of them, and hold it up or fail it. */

import { createQcow2 } from '../../../src/image/qcow2/create/create.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import type { Random } from '../../tools/crash-random.ts';

/** Counts syncs and writes; a write for which `gate` answers with a promise waits for that. */
export class GatedStorage extends MemoryStorage {
  syncs = 0;
  writes: { readonly offset: number; readonly length: number }[] = [];
  gate: (offset: number, length: number) => Promise<void> | undefined = () => undefined;

  constructor() {
    super(Buffer.alloc(0), { isContainer: true, name: 'gated.qcow2' });
  }

  override async write(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    this.writes.push({ offset, length });
    await this.gate(offset, length);
    await super.write(buffer, at, length, offset);
  }

  override async sync(): Promise<void> {
    this.syncs++;
    await super.sync();
  }
}

/** An empty image on such a storage; settings are those of `create`. */
export async function gatedImage(
  sizeBytes: number,
  settings: Readonly<Record<string, string>> = {},
): Promise<GatedStorage> {
  const storage = new GatedStorage();
  const createFile = () => Promise.reject(new Error('no other file is wanted'));
  await createQcow2(storage, { sizeBytes, settings, createFile });
  storage.syncs = 0;
  storage.writes = [];
  return storage;
}

/** A gate that lets requests overtake each other, and fails some of them for want of space. */
export function unruly(random: Random, failures: number): GatedStorage['gate'] {
  return async () => {
    for (let turns = random.below(4); turns > 0; turns--) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (random.chance(failures)) throw new TmemError('no-space', 'the medium is full; make room');
  };
}

/** A promise, and what resolves it. */
export function gateOf(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}
