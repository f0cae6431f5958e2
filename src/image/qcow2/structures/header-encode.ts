/** A header as it is stored, with everything in it that others may need and we do not know. */

import { TmemError } from '../../../lib/errors.ts';
import { writeUInt64BE } from '../../../lib/uint64.ts';
import type { Qcow2Header } from './header.ts';
import { encodeExtensions } from './header-extensions.ts';
import { FIELD, HEADER_BYTES_V2, MAGIC } from './layout.ts';

/**
 * The first cluster of an image with that header: header, extensions, backing name, zeros. Throws a
 * TmemError `unsupported` when they do not fit into one cluster.
 */
export function encodeHeader(header: Qcow2Header, name: string): Buffer {
  const extensions = encodeExtensions(header.extensions);
  const backing = Buffer.from(header.backingName ?? '', 'utf8');
  const headerBytes = header.version === 2 ? HEADER_BYTES_V2 : header.headerBytes;
  const backingAt = headerBytes + extensions.length;
  if (backingAt + backing.length > header.clusterBytes) {
    const cause = `its header does not fit into a cluster of ${header.clusterBytes} bytes`;
    const advice = 'use larger clusters or a shorter backing name';
    throw new TmemError('unsupported', `cannot write "${name}": ${cause}; ${advice}`);
  }
  const bytes = Buffer.alloc(header.clusterBytes);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(header.version, FIELD.version);
  if (backing.length > 0) writeUInt64BE(bytes, backingAt, FIELD.backingNameOffset);
  bytes.writeUInt32BE(backing.length, FIELD.backingNameBytes);
  bytes.writeUInt32BE(header.clusterBits, FIELD.clusterBits);
  writeUInt64BE(bytes, header.sizeBytes, FIELD.sizeBytes);
  bytes.writeUInt32BE(header.crypt, FIELD.crypt);
  bytes.writeUInt32BE(header.l1Entries, FIELD.l1Entries);
  writeUInt64BE(bytes, header.l1Offset, FIELD.l1Offset);
  writeUInt64BE(bytes, header.refcountTableOffset, FIELD.refcountTableOffset);
  bytes.writeUInt32BE(header.refcountTableClusters, FIELD.refcountTableClusters);
  bytes.writeUInt32BE(header.snapshotCount, FIELD.snapshotCount);
  writeUInt64BE(bytes, header.snapshotsOffset, FIELD.snapshotsOffset);
  if (header.version === 3) encodeFeatures(bytes, header);
  extensions.copy(bytes, headerBytes);
  backing.copy(bytes, backingAt);
  return bytes;
}

function encodeFeatures(bytes: Buffer, header: Qcow2Header): void {
  bytes.writeBigUInt64BE(header.incompatible, FIELD.incompatible);
  bytes.writeBigUInt64BE(header.compatible, FIELD.compatible);
  bytes.writeBigUInt64BE(header.autoclear, FIELD.autoclear);
  bytes.writeUInt32BE(header.refcountOrder, FIELD.refcountOrder);
  bytes.writeUInt32BE(header.headerBytes, FIELD.headerBytes);
  if (header.headerBytes <= FIELD.compressionType) return;
  bytes.writeUInt8(header.compressionType, FIELD.compressionType);
  header.tail.copy(bytes, FIELD.compressionType + 1);
}
