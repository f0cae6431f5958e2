/** Writing into a closed image what it stands on. */

import { TmemError } from '../../lib/errors.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { ImageReference } from '../format.ts';
import { encodeQedHeader, FEATURE, NAME_BYTES_MAX, readQedHeader } from './header.ts';

/** See `FormatDriver.rebase`. Unknown autoclear bits are cleared, as by whoever writes an image. */
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
  const bytes = encodeQedHeader({ ...header, features, backingName: name });
  await storage.write(bytes, 0, bytes.length, 0);
  await storage.sync();
}
