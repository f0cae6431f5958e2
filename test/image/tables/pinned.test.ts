import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FormatName, ImageReference } from '../../../src/image/format.ts';
import { driverOf } from '../../../src/image/formats.ts';
import { BlockImage } from '../../../src/image/image.ts';
import { openImage } from '../../../src/image/open.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { MIB, workspace } from '../../tools/workspace.ts';

const KIB = 1024;
const noFile = () => Promise.reject(new Error('no other file is there'));

interface Kind {
  readonly formatName: FormatName;
  readonly settings: Record<string, string>;
  readonly sizeBytes: number;
  /** What cannot be had in pieces, by the layout of the format. */
  readonly tableBytes: number;
}

const BACKING: ImageReference = {
  ...{ role: 'backing file', name: 'base.raw', formatName: 'raw' },
  stamp: { sizeBytes: 512, changedAtMs: 1 },
};

const KINDS: readonly Kind[] = [
  // 32,768 tables of 64 entries, and room to note as many refcount blocks.
  {
    formatName: 'qcow2',
    settings: { cluster_size: '512' },
    sizeBytes: 1024 * MIB,
    tableBytes: 256 * KIB + 65_536 * 40,
  },
  // 16,384 tables of 512 clusters of 4 KiB.
  {
    formatName: 'qed',
    settings: { cluster_size: '4096', table_size: '1' },
    sizeBytes: 1024 * MIB,
    tableBytes: 4 * KIB,
  },
  { formatName: 'qcow', settings: {}, sizeBytes: 16 * 1024 * MIB, tableBytes: 64 * KIB },
  {
    formatName: 'cow',
    settings: { block_size: '512' },
    sizeBytes: 256 * MIB,
    tableBytes: 64 * KIB,
  },
];

/** A new image in memory, opened as it is for a service. */
async function open(kind: Kind, options: { pinnedBytesMax?: number; isReadOnly?: boolean }) {
  const { formatName, settings, sizeBytes } = kind;
  const driver = await driverOf(formatName);
  const storage = new MemoryStorage(Buffer.alloc(0), { name: `disk.${formatName}` });
  const backing = formatName === 'cow' ? { backing: BACKING } : {};
  await driver.create?.(storage, { sizeBytes, settings, createFile: noFile, ...backing });
  const told = { isReadOnly: false, tableBytesMax: MIB, openFile: noFile, ...options };
  const { format } = await driver.open(storage, told);
  const names = { name: storage.name, identity: 'it', medium: 'memory' };
  return { format, image: new BlockImage({ ...names, format, tableBytesMax: MIB }) };
}

describe.each(KINDS)('the tables of $formatName that are in memory as a whole', (kind) => {
  it('are counted', async () => {
    const { format, image } = await open(kind, {});
    const { pinnedBytes = 0 } = format;
    expect(pinnedBytes).toBeGreaterThanOrEqual(kind.tableBytes);
    const cachesBytes = (format.tables?.limitBytes ?? 0) + MIB + MIB / 2;
    expect(image.memoryBytesWith(1)).toBe(pinnedBytes + cachesBytes);
    await image.close();
  });

  it('are refused where they are more than may be, in one sentence', async () => {
    const pinnedBytesMax = kind.tableBytes - 1;
    await expect(open(kind, { pinnedBytesMax })).rejects.toMatchObject({
      kind: 'usage',
      message: expect.stringMatching(
        /^cannot open "disk\.\w+": \S+ of its tables are in memory .* give more memory/,
      ),
    });
  });
});

describe('the bitmaps of a qcow2 image', () => {
  needsPrograms('qemu-img');

  it('are counted where they are kept, and refused with what they need', async () => {
    const file = path.join(workspace(), 'disk.qcow2');
    await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', file, '1G']);
    const bytesOf = async (pinnedBytesMax?: number) => {
      const image = await openImage(file, { isReadOnly: false, pinnedBytesMax });
      await image.close();
      return image.memoryBytesWith(1);
    };
    const before = await bytesOf();
    await runWell('qemu-img', ['bitmap', '--add', '-g', '512', file, 'backup']);
    expect(await bytesOf()).toBeGreaterThanOrEqual(before + 256 * KIB);
    await expect(bytesOf(256 * KIB)).rejects.toThrow(/of its tables are in memory/);
  });
});

it('what an image would take with larger tables is no less than it then takes', async () => {
  const file = path.join(workspace(), 'disk.qcow2');
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', file, '1T']);
  const takenWith = async (tableBytesMax: number, growth: number) => {
    const image = await openImage(file, { isReadOnly: false, tableBytesMax });
    await image.close();
    return image.memoryBytesWith(growth);
  };
  for (const growth of [1, 1.25, 2, 7.3, 32]) {
    const taken = await takenWith(growth * 512 * KIB, 1);
    const foreseen = await takenWith(512 * KIB, growth);
    expect(foreseen, `${growth}`).toBeGreaterThanOrEqual(taken);
  }
});
