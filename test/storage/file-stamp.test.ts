import fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  type FileStamp,
  isSameStamp,
  settledStamp,
  stampFile,
  syncFile,
} from '../../src/storage/file-stamp.ts';
import { openDescriptors } from '../../src/storage/open-file.ts';
import { temporaryFile } from './temporary-files.ts';

const MS = 1_000_000n;
const SECOND = 1000n * MS;

/** A file that was last changed at `changesNs[i]` when it is looked at for the i-th time. */
function scripted(startNs: bigint, changesNs: readonly bigint[]) {
  let nowNs = startNs;
  let looks = 0;
  const waits: number[] = [];
  return {
    waits,
    nowNs: () => nowNs,
    stamp: async (): Promise<FileStamp> => {
      const at = changesNs[Math.min(looks++, changesNs.length - 1)] ?? 0n;
      return { medium: 'file:1:2', sizeBytes: 512, mtimeNs: at, ctimeNs: at };
    },
    wait: async (ms: number) => {
      waits.push(ms);
      nowNs += BigInt(ms) * MS;
    },
  };
}

describe('the stamp of a file', () => {
  it('names it as an open storage does', async () => {
    const path = temporaryFile(4096);
    const file = await openDescriptors(path, { isReadOnly: true });
    for (const fd of [file.bufferedFd, file.allocationFd, file.directFd]) {
      if (fd !== undefined) fs.closeSync(fd);
    }
    expect(await stampFile(path)).toMatchObject({ medium: file.medium, sizeBytes: 4096 });
  });

  it('is another one after a change, and the same without one', async () => {
    const path = temporaryFile(4096);
    const first = await settledStamp(path);
    const second = await stampFile(path);
    fs.writeFileSync(path, Buffer.alloc(4096));
    const third = await stampFile(path);
    if (first === undefined || second === undefined || third === undefined) throw new Error('none');
    expect([isSameStamp(first, second), isSameStamp(first, third)]).toEqual([true, false]);
  });

  it('is another one when any part of it is', () => {
    const stamp: FileStamp = { medium: 'file:1:2', sizeBytes: 512, mtimeNs: 3n, ctimeNs: 4n };
    const others: FileStamp[] = [
      { ...stamp, medium: 'file:1:3' },
      { ...stamp, sizeBytes: 1024 },
      { ...stamp, mtimeNs: 4n },
      { ...stamp, ctimeNs: 5n },
    ];
    expect(others.map((other) => isSameStamp(stamp, other))).toEqual([false, false, false, false]);
    expect(isSameStamp(stamp, { ...stamp })).toBe(true);
  });

  it('is not there for what has no time of change, and an error for what is not there', async () => {
    expect(await stampFile('/dev/null')).toBeUndefined();
    expect(await settledStamp('/dev/null')).toBeUndefined();
    await expect(stampFile('/none/at/all')).rejects.toMatchObject({ kind: 'not-found' });
    await expect(syncFile('/none/at/all')).rejects.toMatchObject({ kind: 'not-found' });
    await syncFile(temporaryFile(4096));
  });

  it('waits until a later change would look different', async () => {
    const changed = 1000n * SECOND + 1n;
    const fresh = scripted(changed + 10n * MS, [changed]);
    expect(await settledStamp('x', fresh)).toMatchObject({ ctimeNs: changed });
    expect(fresh.waits).toEqual([41]);
    const old = scripted(changed + 60n * MS, [changed]);
    await settledStamp('x', old);
    expect(old.waits).toEqual([]);
  });

  it('waits longer where the times are whole seconds', async () => {
    const sources = scripted(1000n * SECOND + 10n * MS, [1000n * SECOND]);
    expect(await settledStamp('x', sources)).toBeDefined();
    expect(sources.waits).toEqual([2091]);
  });

  it('is not there for a file that is changed all the time, and waits are few', async () => {
    const start = 1000n * SECOND + 1n;
    const changes = Array.from({ length: 50 }, (_, i) => start + BigInt(i) * 51n * MS);
    const sources = scripted(start, changes);
    expect(await settledStamp('x', sources)).toBeUndefined();
    expect(sources.waits.length).toBeLessThan(10);
  });

  it('does not wait for a change that another clock put in the future', async () => {
    const sources = scripted(1000n * SECOND, [5000n * SECOND + 1n]);
    expect(await settledStamp('x', sources)).toBeDefined();
    expect(sources.waits).toEqual([]);
  });
});
