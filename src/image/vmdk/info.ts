/** What is to be known of a VMDK from its own file alone. */

import type { Storage } from '../../storage/storage.ts';
import type { ImageInfo, ImageReference } from '../format.ts';
import { parentOf } from './open.ts';
import { cidText } from './structures/descriptor.ts';
import { SECTOR_BYTES } from './structures/sparse-header.ts';
import { readVmdkFile } from './structures/vmdk-file.ts';

/** See `FormatDriver.info`. */
export async function vmdkInfo(storage: Storage): Promise<ImageInfo> {
  const { descriptor, header } = await readVmdkFile(storage);
  const { extents, parentCid, adapterType, hardwareVersion } = descriptor;
  const references: ImageReference[] = [];
  if (header === undefined) {
    for (const name of new Set(extents.map((extent) => extent.name))) {
      if (name !== undefined) references.push({ role: 'extent', name, formatName: undefined });
    }
  }
  const described = extents.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
  const capacity = header && header.capacitySectors * SECTOR_BYTES;
  return {
    formatName: 'vmdk',
    virtualSizeBytes: capacity ?? described,
    unitBytes: header && header.grainSectors * SECTOR_BYTES,
    backing: parentOf(descriptor),
    references,
    isEncrypted: false,
    isDirty: header?.isUnclean ?? false,
    isCorrupt: false,
    snapshots: [],
    details: {
      subformat: descriptor.createType,
      cid: cidText(descriptor.cid),
      parentCid: cidText(parentCid),
      extents: extents.length,
      ...(adapterType === undefined ? {} : { adapterType }),
      ...(hardwareVersion === undefined ? {} : { hwversion: hardwareVersion }),
      ...(header === undefined
        ? {}
        : {
            ...{ version: header.version, zeroedGrain: header.hasZeroedGrains },
            ...{
              isCompressed: header.isCompressed,
              hasFooter: header.directorySector === undefined,
            },
          }),
    },
  };
}
