/** The files that a qcow2 image names, as it says them: nothing is opened here. */

import { FORMAT_NAMES, type FormatName, type ImageReference } from '../../format.ts';
import { has, type Qcow2Header } from './header.ts';
import { extensionOf, textOf } from './header-extensions.ts';
import { EXTENSION } from './layout.ts';

/** What lies under the image; undefined for one that stands alone. */
export function backingReference(header: Qcow2Header): ImageReference | undefined {
  if (header.backingName === undefined) return undefined;
  const format = extensionOf(header.extensions, EXTENSION.backingFormat);
  const formatName = format === undefined ? undefined : knownFormat(textOf(format));
  return { role: 'backing file', name: header.backingName, formatName };
}

/** Where the guest's bytes are, if not in the image; the name is empty where the image has none. */
export function dataFileReference(header: Qcow2Header): ImageReference | undefined {
  if (!has(header, 'dataFile')) return undefined;
  const name = extensionOf(header.extensions, EXTENSION.dataFileName);
  return { role: 'data file', name: name === undefined ? '' : textOf(name), formatName: 'raw' };
}

function knownFormat(name: string): FormatName | undefined {
  return FORMAT_NAMES.find((known) => known === name);
}
