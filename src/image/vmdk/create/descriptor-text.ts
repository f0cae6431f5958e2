/** The descriptor of a new image, as VMware and qemu write it. */

import { cidText, NO_PARENT_CID } from '../structures/descriptor.ts';

export interface DescriptorFields {
  readonly subformat: string;
  readonly adapterType: string;
  readonly hardwareVersion: string;
  readonly toolsVersion: string;
  readonly cid: number;
  readonly parent: { readonly name: string; readonly cid: number } | undefined;
  readonly extents: readonly {
    readonly sectors: number;
    readonly type: 'SPARSE' | 'FLAT';
    readonly name: string;
  }[];
  /** Of the whole disk. */
  readonly sectors: number;
}

const SECTORS_PER_TRACK = 63;

/** Names have no quotation mark and no control character: the caller has checked. */
export function descriptorText(fields: DescriptorFields): string {
  const { parent, adapterType } = fields;
  // Geometry as a BIOS would choose it for a disk on such an adapter.
  const heads = adapterType === 'ide' ? 16 : 255;
  const cylinders = Math.floor(fields.sectors / (SECTORS_PER_TRACK * heads));
  const lines = [
    '# Disk DescriptorFile',
    'version=1',
    'encoding="UTF-8"',
    `CID=${cidText(fields.cid)}`,
    `parentCID=${cidText(parent?.cid ?? NO_PARENT_CID)}`,
    `createType="${fields.subformat}"`,
    ...(parent === undefined ? [] : [`parentFileNameHint="${parent.name}"`]),
    '',
    '# Extent description',
    ...fields.extents.map(({ sectors, type, name }) => {
      return `RW ${sectors} ${type} "${name}"${type === 'FLAT' ? ' 0' : ''}`;
    }),
    '',
    '# The Disk Data Base',
    '#DDB',
    '',
    `ddb.virtualHWVersion = "${fields.hardwareVersion}"`,
    `ddb.geometry.cylinders = "${cylinders}"`,
    `ddb.geometry.heads = "${heads}"`,
    `ddb.geometry.sectors = "${SECTORS_PER_TRACK}"`,
    `ddb.adapterType = "${adapterType}"`,
    `ddb.toolsVersion = "${fields.toolsVersion}"`,
    '',
  ];
  return lines.join('\n');
}
