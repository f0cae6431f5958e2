/** Images that no tool makes: small grains, short tables, directories without tables. */

import { deflateSync } from 'node:zlib';
import { BlockImage } from '../../../src/image/image.ts';
import { rawImage } from '../../../src/image/raw.ts';
import { vmdkDriver } from '../../../src/image/vmdk/driver.ts';
import type { ResizableStorage } from '../../../src/storage/storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';

export const SECTOR = 512;

export interface SmallOptions {
  readonly capacitySectors: number;
  readonly grainSectors?: number;
  readonly entriesPerTable?: number;
  readonly hasZeroes?: boolean;
  readonly hasCopies?: boolean;
  /** Without, each table is made when it is needed. */
  readonly hasTables?: boolean;
  readonly hasParent?: boolean;
}

function descriptorOf(sectors: number, more = '', createType = 'monolithicSparse'): string {
  return [
    '# Disk DescriptorFile',
    'version=1',
    'CID=12345678',
    ...(more === '' ? ['parentCID=ffffffff'] : [more]),
    `createType="${createType}"`,
    `RW ${sectors} SPARSE "small.vmdk"`,
    '',
  ].join('\n');
}

/** The header of a sparse extent, as the bytes of the specification. */
function headerOf(fields: {
  version?: number;
  flags: number;
  capacity: number;
  grain: number;
  entries: number;
  redundant: number;
  directory: number | 'end';
  overhead: number;
}): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  bytes.write('KDMV');
  bytes.writeUInt32LE(fields.version ?? 1, 4);
  bytes.writeUInt32LE(fields.flags, 8);
  bytes.writeBigUInt64LE(BigInt(fields.capacity), 12);
  bytes.writeBigUInt64LE(BigInt(fields.grain), 20);
  bytes.writeBigUInt64LE(1n, 28);
  bytes.writeBigUInt64LE(2n, 36);
  bytes.writeUInt32LE(fields.entries, 44);
  bytes.writeBigUInt64LE(BigInt(fields.redundant), 48);
  const directory = fields.directory === 'end' ? 2n ** 64n - 1n : BigInt(fields.directory);
  bytes.writeBigUInt64LE(directory, 56);
  bytes.writeBigUInt64LE(BigInt(fields.overhead), 64);
  bytes.write('\n \r\n', 73);
  if (fields.flags & 0x1_0000) bytes.writeUInt16LE(1, 77);
  return bytes;
}

/** Header, descriptor in sectors 1 and 2, directory in 3 (and its copy in 4), then the tables. */
export function smallImage(options: SmallOptions): Buffer {
  const { capacitySectors, grainSectors = 8, entriesPerTable = 8 } = options;
  const { hasZeroes = false, hasCopies = true, hasTables = false, hasParent = false } = options;
  const tables = Math.ceil(capacitySectors / (grainSectors * entriesPerTable));
  const tableSectors = Math.ceil((entriesPerTable * 4) / SECTOR);
  const copies = hasCopies ? 2 : 1;
  const end = 3 + copies + (hasTables ? tables * tableSectors * copies : 0);
  const overhead = Math.ceil(end / grainSectors) * grainSectors;
  const bytes = Buffer.alloc(overhead * SECTOR);
  headerOf({
    ...{ version: hasZeroes ? 2 : 1, flags: 1 | (hasCopies ? 2 : 0) | (hasZeroes ? 4 : 0) },
    ...{ capacity: capacitySectors, grain: grainSectors, entries: entriesPerTable },
    ...{ redundant: hasCopies ? 4 : 0, directory: 3, overhead },
  }).copy(bytes);
  const parent = 'parentCID=0000beef\nparentFileNameHint="base.vmdk"';
  bytes.write(descriptorOf(capacitySectors, hasParent ? parent : ''), SECTOR, 'latin1');
  for (let copy = 0; hasTables && copy < copies; copy++) {
    for (let table = 0; table < tables; table++) {
      const sector = 3 + copies + (copy * tables + table) * tableSectors;
      bytes.writeUInt32LE(sector, (3 + copy) * SECTOR + table * 4);
    }
  }
  return bytes;
}

export const noFile = () => Promise.reject(new Error('nothing may be opened here'));

export function memoryOf(bytes: Buffer, isReadOnly = false): MemoryStorage {
  return new MemoryStorage(bytes, { name: 'small.vmdk', isContainer: true, isReadOnly });
}

/** The image over `base` where that is given, with a cache as small as it may be. */
export async function openSmall(
  storage: ResizableStorage,
  base?: Buffer,
  isReadOnly = storage.isReadOnly,
): Promise<BlockImage> {
  const options = { isReadOnly, tableBytesMax: 0, openFile: noFile };
  const { format } = await vmdkDriver.open(storage, options);
  const backing = base === undefined ? undefined : rawImage(new MemoryStorage(base), 'base');
  const name = 'small.vmdk';
  return new BlockImage({ name, identity: name, medium: name, format, backing });
}

export async function contentOfSmall(image: BlockImage): Promise<Buffer> {
  const content = Buffer.alloc(image.virtualSizeBytes);
  await image.read(content, 0, content.length, 0);
  return content;
}

export async function checkSmall(bytes: Buffer, repair?: 'leaks' | 'all') {
  const report = await vmdkDriver.check?.(memoryOf(bytes), { openFile: noFile, repair });
  if (report === undefined) throw new Error('vmdk has no check');
  return report;
}

/** A stream as VMware writes it: tables between the grains, directory and footer at the end. */
export function streamOf(grains: ReadonlyMap<number, Buffer>, capacitySectors: number): Buffer {
  const parts: Buffer[] = [];
  let sector = 0;
  const add = (bytes: Buffer): number => {
    const begin = sector;
    const padded = Buffer.alloc(Math.ceil(bytes.length / SECTOR) * SECTOR);
    bytes.copy(padded);
    parts.push(padded);
    sector += padded.length / SECTOR;
    return begin;
  };
  const marker = (type: number, sectors: number) => {
    const bytes = Buffer.alloc(SECTOR);
    bytes.writeBigUInt64LE(BigInt(sectors), 0);
    bytes.writeUInt32LE(type, 12);
    return bytes;
  };
  const fields = {
    ...{ version: 3, flags: 0x3_0001, capacity: capacitySectors, grain: 128, entries: 512 },
    ...{ redundant: 0, overhead: 128 },
  };
  const head = Buffer.alloc(128 * SECTOR);
  headerOf({ ...fields, directory: 'end' }).copy(head);
  head.write(descriptorOf(capacitySectors, '', 'streamOptimized'), SECTOR, 'latin1');
  add(head);
  const tables = Math.ceil(capacitySectors / (128 * 512));
  const directory = Buffer.alloc(tables * 4);
  for (let table = 0; table < tables; table++) {
    const entries = Buffer.alloc(2048);
    for (let i = 0; i < 512; i++) {
      const grain = grains.get(table * 512 + i);
      if (grain === undefined) continue;
      const compressed = deflateSync(grain);
      const lead = Buffer.alloc(12);
      lead.writeBigUInt64LE(BigInt((table * 512 + i) * 128), 0);
      lead.writeUInt32LE(compressed.length, 8);
      entries.writeUInt32LE(add(Buffer.concat([lead, compressed])), i * 4);
    }
    if (entries.every((byte) => byte === 0)) continue;
    add(marker(1, 4));
    directory.writeUInt32LE(add(entries), table * 4);
  }
  add(marker(2, Math.ceil(directory.length / SECTOR)));
  const directorySector = add(directory);
  add(marker(3, 1));
  add(headerOf({ ...fields, directory: directorySector }));
  add(marker(0, 0));
  return Buffer.concat(parts);
}
