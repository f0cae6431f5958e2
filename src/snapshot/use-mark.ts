/**
 * Whether the times of the images can be believed. A file's times may be lost where its content is
 * not: `fdatasync` brings the content to the disk and may leave the times in memory, and then the
 * power fails. The image has changed and looks as it did.
 *
 * So a snapshot carries a mark. It is `clean` when a service that stopped brought images and times to
 * the disk before it. It is `in use` from the moment when a service serves the images (again), with
 * the id of that boot of the machine: then it is good only until the machine is booted again, for as
 * long as it runs no times are lost. The mark lies at a place of its own, so that it can be changed
 * in one small write.
 *
 * Mark: state, boot id (36 characters), checksum.
 */

import { readFile } from 'node:fs/promises';
import { crc32 } from 'node:zlib';

const CLEAN = 1;
const IN_USE = 2;
const BOOT_ID_BYTES = 36;
const CHECKSUM_AT = 4 + BOOT_ID_BYTES;
/** Bytes of a mark. */
export const MARK_BYTES = CHECKSUM_AT + 4;

/** Who vouches for the images' times. */
export interface UseMark {
  readonly isClean: boolean;
  /** Empty when it is not known, and then it is no boot at all. */
  readonly bootId: string;
}

/** Names this boot of the machine; empty where the system does not tell. */
export async function readBootId(): Promise<string> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'ascii')).trim();
  } catch {
    return '';
  }
}

/** Whether the times in a snapshot with that mark can be believed in this boot. */
export function isBelievable(mark: UseMark, bootId: string): boolean {
  return mark.isClean || (bootId !== '' && mark.bootId === bootId);
}

/** The mark as bytes, for the snapshot of that id. */
export function encodeMark(mark: UseMark, id: Buffer): Buffer {
  const bytes = Buffer.alloc(MARK_BYTES);
  bytes.writeUInt32LE(mark.isClean ? CLEAN : IN_USE, 0);
  bytes.write(mark.bootId, 4, BOOT_ID_BYTES, 'ascii');
  bytes.writeUInt32LE(crc32(bytes.subarray(0, CHECKSUM_AT), crc32(id)), CHECKSUM_AT);
  return bytes;
}

/** The mark, or undefined when it is damaged. */
export function decodeMark(bytes: Buffer, id: Buffer): UseMark | undefined {
  const checksum = crc32(bytes.subarray(0, CHECKSUM_AT), crc32(id));
  if (bytes.readUInt32LE(CHECKSUM_AT) !== checksum) return undefined;
  const text = bytes.toString('ascii', 4, CHECKSUM_AT);
  return { isClean: bytes.readUInt32LE(0) === CLEAN, bootId: text.replace(/\0+$/, '') };
}
