/** Writing into a closed VMDK what it stands on: its parent, or its parent's new content. */

import { TmemError } from '../../lib/errors.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { ImageReference } from '../format.ts';
import { checkParent } from './create/settings.ts';
import {
  cidText,
  isNextContentLine,
  nextContentLine,
  parseDescriptor,
} from './structures/descriptor.ts';
import { SECTOR_BYTES } from './structures/sparse-header.ts';
import { readExactly, readVmdkFile } from './structures/vmdk-file.ts';

const OF_PARENT = /^\s*(parentcid|parentfilenamehint)\s*=/i;
const CONTENT_ID = /^\s*cid\s*=/i;

/**
 * See `FormatDriver.rebase`. The descriptor is written in one write, which begins with a sector; all
 * other lines stay as they are, byte for byte.
 */
export async function rebaseVmdk(
  storage: ResizableStorage,
  backing: ImageReference,
): Promise<void> {
  checkParent(backing, `put "${storage.name}" on another parent`);
  const { descriptor, descriptorOffset, header } = await readVmdkFile(storage);
  if (descriptor.extents.some(({ type }) => type !== 'SPARSE' && type !== 'VMFSSPARSE')) {
    const cause = 'its extents have no holes through which a parent shows';
    throw new TmemError('unsupported', `"${storage.name}" takes no parent: ${cause}; convert it`);
  }
  const room = header === undefined ? storage.sizeBytes : header.descriptorSectors * SECTOR_BYTES;
  const old = await readExactly(storage, descriptorOffset, room, 'the descriptor');
  const text = withParent(old, backing);
  if (header !== undefined && text.length > room) {
    const cause = `its descriptor has room for ${room} bytes`;
    throw new TmemError(
      'unsupported',
      `"${storage.name}" keeps its parent: ${cause}; shorten the name of the parent`,
    );
  }
  // What others would not read must not get there: names in another encoding, for one.
  const { parentName, parentCid } = parseDescriptor(text, storage.name, descriptorOffset);
  if (parentName !== backing.name || parentCid !== backing.parentCid) {
    const cause = `the name of the parent cannot stand in its descriptor`;
    throw new TmemError('unsupported', `"${storage.name}" keeps its parent: ${cause}; rename it`);
  }
  // Until the file is cut, what is left of a longer text must not be there again.
  const bytes = Buffer.alloc(Math.max(room, text.length), header === undefined ? '\n' : 0);
  text.copy(bytes);
  await storage.write(bytes, 0, bytes.length, descriptorOffset);
  if (header === undefined) await storage.resize(text.length);
  await storage.sync();
}

/** The descriptor up to its end with another parent, said right behind the image's own CID. */
function withParent(descriptor: Buffer, backing: ImageReference): Buffer {
  const { name, parentCid = 0, parentCidNext } = backing;
  const end = descriptor.indexOf(0);
  const text = descriptor.toString('latin1', 0, end < 0 ? descriptor.length : end);
  const lines = text
    .split('\n')
    .filter((line) => !OF_PARENT.test(line) && !isNextContentLine(line));
  const at = lines.findLastIndex((line) => CONTENT_ID.test(line));
  const lineEnd = lines[at]?.endsWith('\r') === true ? '\r' : '';
  const hint = Buffer.from(name, 'utf8').toString('latin1');
  const wanted = [`parentCID=${cidText(parentCid)}`, `parentFileNameHint="${hint}"`];
  if (parentCidNext !== undefined) wanted.push(nextContentLine(parentCidNext));
  lines.splice(at + 1, 0, ...wanted.map((line) => line + lineEnd));
  return Buffer.from(lines.join('\n'), 'latin1');
}
