/** What else has clusters besides tables and data: snapshots, bitmaps, the key of a cipher. */

import { TmemError } from '../../../lib/errors.ts';
import { readUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import { type Bitmap, bitmapDirectory, readBitmaps } from '../structures/bitmaps.ts';
import type { Geometry } from '../structures/geometry.ts';
import type { Qcow2Header } from '../structures/header.ts';
import { extensionOf } from '../structures/header-extensions.ts';
import { CRYPT, EXTENSION, L1_BYTES_MAX, SECTOR_BYTES } from '../structures/layout.ts';
import { readSnapshots } from '../structures/snapshot-table.ts';
import type { Findings } from './findings.ts';
import type { Marks } from './marks.ts';
import type { TableWalk } from './tables.ts';

const PIECE_BYTES = 1 << 20;
const EXTRA_BYTES_V3 = 16;
/** Bits 56 to 63, and 1 to 8. */
const BITMAP_RESERVED_HIGH = 0xff00_0000;
const BITMAP_RESERVED_LOW = 0x1fe;

export interface OthersParts {
  readonly storage: ResizableStorage;
  readonly header: Qcow2Header;
  readonly geometry: Geometry;
  readonly marks: Marks;
  readonly findings: Findings;
}

/** Counts the snapshot table, and takes the L1 tables that it names into the walk. */
export async function checkSnapshots(parts: OthersParts, walk: TableWalk): Promise<void> {
  const { storage, header, geometry, marks, findings } = parts;
  if (header.snapshotCount === 0) return;
  const { snapshotsOffset } = header;
  if (geometry.hasDataFile) {
    findings.corruption('the snapshot table', snapshotsOffset, 'is there in spite of a data file');
  }
  let tableBytes = 0;
  try {
    for (const snapshot of await readSnapshots(storage, header)) {
      const { entryOffset, entryBytes, l1Offset, l1Entries } = snapshot;
      tableBytes = entryOffset + entryBytes - snapshotsOffset;
      if (header.version === 3 && snapshot.extraBytes < EXTRA_BYTES_V3) {
        findings.corruption('the snapshot', entryOffset, 'lacks the size of its disk');
      }
      if (l1Offset % header.clusterBytes !== 0 || !Number.isSafeInteger(l1Offset)) {
        findings.corruption(
          'the snapshot',
          entryOffset,
          'has an L1 table that begins in a cluster',
        );
        findings.isIncomplete = true;
      } else if (l1Entries * 8 > L1_BYTES_MAX) {
        findings.corruption('the snapshot', entryOffset, 'has an L1 table that is too long');
        findings.isIncomplete = true;
      } else {
        await walk.addL1(l1Offset, l1Entries, false);
      }
    }
  } catch (cause) {
    if (!(cause instanceof TmemError)) throw cause;
    if (cause.kind === 'io') findings.error(`the snapshot table: ${cause.message}`);
    else findings.corruption('the snapshot table', snapshotsOffset, `is damaged: ${cause.message}`);
    findings.isIncomplete = true;
  }
  marks.mark(snapshotsOffset, tableBytes, 1, 'the snapshot table');
}

/** Counts the header of LUKS and its key slots: without those nobody reads the disk again. */
export function checkEncryption({ header, marks, findings }: OthersParts): void {
  if (header.crypt !== CRYPT.luks) return;
  const pointer = extensionOf(header.extensions, EXTENSION.encryption);
  if (pointer === undefined || pointer.length < 16) {
    findings.corruption('the header', 0, 'says that there is LUKS, and not where');
    findings.isIncomplete = true;
    return;
  }
  if (!marks.mark(readUInt64BE(pointer, 0), readUInt64BE(pointer, 8), 1, 'the LUKS header')) {
    findings.isIncomplete = true;
  }
}

/** Counts the directory of bitmaps, their tables and their bits. */
export async function checkBitmaps(parts: OthersParts): Promise<void> {
  const { storage, header, marks, findings } = parts;
  try {
    const directory = bitmapDirectory(header, storage.name);
    if (directory === undefined) return;
    marks.mark(directory.offset, directory.length, 1, 'the bitmap directory');
    let tableBytes = 0;
    for (const bitmap of await readBitmaps(storage, header, directory)) {
      tableBytes += bitmap.tableEntries * 8;
      // Tables that are longer than the file altogether overlap; reading them could take for ever.
      if (tableBytes > marks.fileBytes) {
        findings.corruption('the bitmap table', bitmap.tableOffset, 'overlaps with others');
        findings.isIncomplete = true;
        return;
      }
      await checkBitmap(parts, bitmap);
    }
  } catch (cause) {
    if (!(cause instanceof TmemError)) throw cause;
    findings.corruption('the bitmap directory', header.headerBytes, `is damaged: ${cause.message}`);
    findings.isIncomplete = true;
  }
}

async function checkBitmap(
  { storage, geometry, marks, findings }: OthersParts,
  { tableOffset, tableEntries }: Bitmap,
): Promise<void> {
  const length = tableEntries * 8;
  if (!marks.mark(tableOffset, length, 1, 'a bitmap table')) {
    findings.isIncomplete = true;
    return;
  }
  const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, length));
  for (let done = 0; done < length; done += piece.length) {
    const bytes = Math.min(piece.length, length - done);
    await readPadded(storage, piece, 0, bytes, tableOffset + done);
    for (let at = 0; at < bytes; at += 8) {
      const high = piece.readUInt32BE(at);
      const low = piece.readUInt32BE(at + 4);
      const offset = readUInt64BE(piece, at) - (low % SECTOR_BYTES);
      const isReserved = (high & BITMAP_RESERVED_HIGH) !== 0 || (low & BITMAP_RESERVED_LOW) !== 0;
      if (isReserved || (offset !== 0 && low % geometry.clusterBytes !== 0)) {
        findings.corruption('the bitmap table entry', tableOffset + done + at, 'is not valid');
        findings.isIncomplete = true;
      } else if (offset !== 0) {
        marks.mark(offset, geometry.clusterBytes, 1, 'bits of a bitmap');
      }
    }
  }
}
