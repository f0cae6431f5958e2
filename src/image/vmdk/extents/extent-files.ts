/** The files of an image: each opened through the gate once, and none is part of it twice. */

import { TmemError } from '../../../lib/errors.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { OpenOptions } from '../../format.ts';
import { readCowdLayout } from '../structures/cowd-header.ts';
import { damaged } from '../structures/damage.ts';
import type { Descriptor, ExtentLine } from '../structures/descriptor.ts';
import { SECTOR_BYTES } from '../structures/sparse-header.ts';
import {
  locateTables,
  readExtentHeader,
  type SparseLayout,
  type VmdkFile,
} from '../structures/vmdk-file.ts';

/** An extent with its file, and for a sparse one what its header says. */
export interface ExtentFile {
  readonly line: ExtentLine;
  /** Undefined for zeros. */
  readonly storage: ResizableStorage | undefined;
  /** Undefined for a flat extent. */
  readonly layout: SparseLayout | undefined;
}

/**
 * The extents of the image in `storage`, in the order of the disk. All files that were opened are
 * closed when one of them is refused.
 */
export async function openExtentFiles(
  storage: ResizableStorage,
  file: VmdkFile,
  openFile: OpenOptions['openFile'],
): Promise<ExtentFile[]> {
  const { descriptor, header } = file;
  if (header !== undefined) {
    const layout = await locateTables(storage, header);
    const lengthBytes = header.capacitySectors * SECTOR_BYTES;
    const [line] = descriptor.extents;
    if (line === undefined) throw new Error('vmdk: a monolithic image has one extent');
    return [{ line: { ...line, lengthBytes }, storage, layout }];
  }
  checkNames(storage.name, descriptor);
  const opened = new Map<string, ResizableStorage>();
  try {
    const files: ExtentFile[] = [];
    for (const line of descriptor.extents) files.push(await openOne(line, opened, openFile));
    return files;
  } catch (cause) {
    for (const each of opened.values()) await each.close();
    throw cause;
  }
}

async function openOne(
  line: ExtentLine,
  opened: Map<string, ResizableStorage>,
  openFile: OpenOptions['openFile'],
): Promise<ExtentFile> {
  const { name, type, lengthBytes, fileOffset } = line;
  if (name === undefined) return { line, storage: undefined, layout: undefined };
  const storage =
    opened.get(name) ?? (await openFile({ role: 'extent', name, formatName: undefined }));
  opened.set(name, storage);
  if (type === 'FLAT' || type === 'VMFS') {
    if (fileOffset + lengthBytes <= storage.sizeBytes) {
      return { line, storage, layout: undefined };
    }
    const cause = `an extent of ${lengthBytes} bytes begins, but the file ends at`;
    throw damaged(storage.name, fileOffset, `${cause} ${storage.sizeBytes}`);
  }
  const layout =
    type === 'VMFSSPARSE'
      ? await readCowdLayout(storage)
      : await locateTables(storage, await readExtentHeader(storage));
  if (layout.capacitySectors * SECTOR_BYTES >= lengthBytes) return { line, storage, layout };
  const cause = `it has ${layout.capacitySectors} sectors, but the descriptor says`;
  throw damaged(storage.name, 12, `${cause} ${lengthBytes / SECTOR_BYTES}`);
}

/** One file may hold several flat extents side by side, and nothing else may come twice. */
function checkNames(imageName: string, { extents }: Descriptor): void {
  const byName = new Map<string, ExtentLine[]>();
  let total = 0;
  for (const line of extents) {
    total += line.lengthBytes;
    if (line.access === 'NOACCESS') {
      const advice = 'open the part of the disk that may be read';
      const cause = 'an extent of it may not be accessed';
      throw new TmemError('unsupported', `cannot open "${imageName}" as vmdk: ${cause}; ${advice}`);
    }
    if (line.name === undefined) continue;
    const others = byName.get(line.name) ?? [];
    byName.set(line.name, [...others, line]);
    if (others.every((other) => isApart(other, line))) continue;
    throw damaged(imageName, 0, `the file "${line.name}" is named for the same bytes twice`);
  }
  if (Number.isSafeInteger(total)) return;
  throw damaged(imageName, 0, 'all extents together are larger than a disk can be');
}

function isApart(a: ExtentLine, b: ExtentLine): boolean {
  const areFlat = [a, b].every(({ type }) => type === 'FLAT' || type === 'VMFS');
  if (!areFlat) return false;
  return (
    a.fileOffset + a.lengthBytes <= b.fileOffset || b.fileOffset + b.lengthBytes <= a.fileOffset
  );
}
