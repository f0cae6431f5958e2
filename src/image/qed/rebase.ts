/** Writing into a closed image what it stands on. */

import { TmemError } from '../../lib/errors.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { ImageReference } from '../format.ts';
import {
  encodeQedHeader,
  FEATURE,
  FIELD,
  NAME_BYTES_MAX,
  QED_HEADER_BYTES,
  readQedHeader,
} from './header.ts';

/** In the smallest cluster a name has room there as well, apart from one right behind the header. */
const OTHER_NAME_OFFSET = 3072;

/**
 * See `FormatDriver.rebase`. The new name lies beside the old one, durable before the header, of one
 * sector, says where. Unknown autoclear bits are cleared, as by whoever writes an image.
 */
export async function rebaseQed(
  storage: ResizableStorage,
  { name, formatName }: ImageReference,
): Promise<void> {
  const header = await readQedHeader(storage);
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    const advice = `${NAME_BYTES_MAX} bytes are the most`;
    throw new TmemError('usage', `the name of the backing file is too long; ${advice}`);
  }
  const kept = header.features & FEATURE.needCheck;
  const raw = formatName === 'raw' ? FEATURE.backingIsRaw : 0;
  const features = kept | FEATURE.backingFile | raw;
  const nameOffset = await freeNameOffset(storage);
  const bytes = encodeQedHeader({ ...header, features, backingName: name }, nameOffset);
  await storage.write(bytes, nameOffset, bytes.length - nameOffset, nameOffset);
  await storage.sync();
  await storage.write(bytes, 0, QED_HEADER_BYTES, 0);
  await storage.sync();
}

async function freeNameOffset(storage: ResizableStorage): Promise<number> {
  const raw = Buffer.alloc(4);
  await storage.read(raw, 0, raw.length, FIELD.backingName);
  const isInFront = raw.readUInt32LE(0) < QED_HEADER_BYTES + NAME_BYTES_MAX;
  return isInFront ? OTHER_NAME_OFFSET : QED_HEADER_BYTES;
}
