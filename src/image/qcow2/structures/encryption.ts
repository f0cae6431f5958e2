/** The cipher of an enciphered image: LUKS1 inside qcow2, or the old way of qcow. */

import { TmemError } from '../../../lib/errors.ts';
import { readUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { SectorCipher } from '../../format.ts';
import { openLuks, readLuksHeader } from '../../luks/luks.ts';
import { passphraseCipher } from '../../luks/passphrase-cipher.ts';
import type { Qcow2Header } from './header.ts';
import { extensionOf } from './header-extensions.ts';
import { CRYPT, EXTENSION, FIELD } from './layout.ts';
import { refusal } from './refusal.ts';

/**
 * The cipher of the data clusters of an image that is enciphered. Rejects with `permission` for
 * want of the right passphrase. Sectors are numbered by where they are on the storage with LUKS,
 * and on the guest's disk with the old way, which is only read.
 */
export async function openCipher(
  storage: ResizableStorage,
  header: Qcow2Header,
  passphrase: Buffer | undefined,
  isReadOnly: boolean,
): Promise<SectorCipher> {
  const { crypt, extensions } = header;
  const { name } = storage;
  if (crypt === CRYPT.luks) {
    const pointer = extensionOf(extensions, EXTENSION.encryption);
    if (pointer === undefined || pointer.length < 16) {
      throw refusal(name, FIELD.crypt, 'it is enciphered with LUKS, whose header is nowhere');
    }
    const offset = readUInt64BE(pointer, 0);
    const length = readUInt64BE(pointer, 8);
    if (offset % header.clusterBytes !== 0 || offset >= storage.sizeBytes) {
      throw refusal(name, FIELD.crypt, `its LUKS header is said to be at ${offset}`);
    }
    return openLuks(storage, await readLuksHeader(storage, offset, length), offset, passphrase);
  }
  if (!isReadOnly) {
    const advice = 'open it read-only and convert it';
    throw new TmemError('unsupported', `"${name}" is enciphered in the old way; ${advice}`);
  }
  if (passphrase === undefined) {
    throw new TmemError(
      'permission',
      `"${name}" is enciphered; give its passphrase with --passphrase-file`,
    );
  }
  return passphraseCipher(passphrase);
}
