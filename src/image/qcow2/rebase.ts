/** Writing into a closed image what it stands on. */

import { TmemError } from '../../lib/errors.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { ImageReference } from '../format.ts';
import { isRawDataFile, readHeader } from './structures/header.ts';
import { encodeHeader } from './structures/header-encode.ts';
import { AUTOCLEAR_KNOWN, BACKING_NAME_BYTES_MAX, EXTENSION } from './structures/layout.ts';

/**
 * See `FormatDriver.rebase`. The first cluster is written as a whole, in one write; autoclear bits that
 * are not known are cleared, as by whoever writes an image.
 */
export async function rebaseQcow2(
  storage: ResizableStorage,
  { name, formatName }: ImageReference,
): Promise<void> {
  const header = await readHeader(storage);
  if (Buffer.byteLength(name) > BACKING_NAME_BYTES_MAX) {
    const advice = '1023 bytes are the most';
    throw new TmemError('usage', `the name of the backing file is too long; ${advice}`);
  }
  if (isRawDataFile(header)) {
    const advice = 'convert it to an image without one';
    const cause = 'its raw data file holds all of the disk';
    throw new TmemError('unsupported', `"${storage.name}" takes no base: ${cause}; ${advice}`);
  }
  const others = header.extensions.filter(({ type }) => type !== EXTENSION.backingFormat);
  const format = formatName === undefined ? [] : [backingFormat(formatName)];
  const autoclear = header.autoclear & AUTOCLEAR_KNOWN;
  const extensions = [...format, ...others];
  const bytes = encodeHeader({ ...header, autoclear, backingName: name, extensions }, storage.name);
  await storage.write(bytes, 0, bytes.length, 0);
  await storage.sync();
}

function backingFormat(formatName: string) {
  return { type: EXTENSION.backingFormat, data: Buffer.from(formatName) };
}
