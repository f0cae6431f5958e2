/**
 * The encryption of qcow's first version, which qcow2 took over before there was LUKS in it: AES-128-CBC
 * over each sector, with the number of the guest's sector as initialisation vector and the passphrase,
 * cut to 16 bytes or padded with zeros, as key. It protects little: use it to read old images.
 */

import type { SectorCipher } from '../format.ts';
import { sectorCipher } from './sector-cipher.ts';

const KEY_BYTES = 16;

/** The passphrase is not checked: an image does not say whether it is right. */
export function passphraseCipher(passphrase: Buffer): SectorCipher {
  const key = Buffer.alloc(KEY_BYTES);
  passphrase.copy(key);
  return sectorCipher({ mode: 'cbc', vector: { name: 'plain64' }, key, counts: 'guest' });
}
