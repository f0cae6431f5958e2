/** Small images of the formats besides qcow2, made by qemu-img if it can, and where the numbers in them are. */

import fs from 'node:fs';
import path from 'node:path';
import type { FormatName } from '../../src/image/format.ts';
import { makeCowCorpus } from './cow-corpus.ts';
import type { CorpusImage, ImageRegion } from './image-mutator.ts';
import { makeLuksCorpus } from './luks-corpus.ts';
import { runProgram, runWell } from './programs.ts';

interface Kind {
  readonly formatName: FormatName;
  readonly settings?: string;
  readonly compresses?: boolean;
  readonly isLittleEndian: boolean;
  regionsOf(bytes: Buffer): ImageRegion[];
}

const KINDS: readonly Kind[] = [
  {
    formatName: 'qed',
    settings: 'cluster_size=4k,table_size=2',
    isLittleEndian: true,
    regionsOf: qed,
  },
  { formatName: 'qcow', isLittleEndian: false, regionsOf: qcow },
  { formatName: 'qcow', compresses: true, isLittleEndian: false, regionsOf: qcow },
  { formatName: 'vmdk', isLittleEndian: true, regionsOf: vmdk },
  {
    formatName: 'vmdk',
    settings: 'subformat=streamOptimized',
    isLittleEndian: true,
    regionsOf: vmdk,
  },
];

/** The formats that `makeCorpus` makes images of. */
export const OTHER_FORMATS: readonly FormatName[] = [
  ...new Set(KINDS.map(({ formatName }) => formatName)),
  ...(['cow', 'luks'] as const),
];

/** Images of the format, each with data, holes and what else it has. */
export async function makeCorpus(
  formatName: FormatName,
  directory: string,
): Promise<CorpusImage[]> {
  if (formatName === 'cow') return makeCowCorpus();
  if (formatName === 'luks') return makeLuksCorpus();
  const raw = path.join(directory, 'corpus.raw');
  const content = Buffer.alloc(2 << 20);
  for (const at of [0, 100 << 10, 512 << 10, 1536 << 10]) content.fill(`${at} `, at, at + 30_000);
  fs.writeFileSync(raw, content);
  const images: CorpusImage[] = [];
  for (const kind of KINDS) {
    if (kind.formatName !== formatName) continue;
    const file = path.join(directory, `corpus.${formatName}`);
    const settings = kind.settings === undefined ? [] : ['-o', kind.settings];
    const compresses = kind.compresses === true ? ['-c'] : [];
    const args = ['convert', '-f', 'raw', '-O', formatName, ...settings, ...compresses, raw, file];
    // Of qcow with -c, version 7.2 makes the whole image, and then ends with 1 for no reason.
    if (compresses.length > 0) await runProgram('qemu-img', args);
    else await runWell('qemu-img', args);
    const bytes = fs.readFileSync(file);
    const name = [formatName, ...settings.slice(1), ...compresses].join(' ');
    const { isLittleEndian } = kind;
    images.push({ name, bytes, isLittleEndian, regions: kind.regionsOf(bytes) });
    fs.unlinkSync(file);
  }
  return images;
}

function region(
  bytes: Buffer,
  name: string,
  offset: number,
  length: number,
  wordBytes: ImageRegion['wordBytes'],
): ImageRegion[] {
  const end = Math.min(offset + length, bytes.length);
  return end - offset < wordBytes ? [] : [{ name, offset, length: end - offset, wordBytes }];
}

function qed(bytes: Buffer): ImageRegion[] {
  const l1At = Number(bytes.readBigUInt64LE(40));
  const tableBytes = bytes.readUInt32LE(4) * bytes.readUInt32LE(8);
  const l2At = Number(bytes.readBigUInt64LE(l1At));
  return [
    ...region(bytes, 'header', 0, 64, 4),
    ...region(bytes, 'header', 16, 48, 8),
    ...region(bytes, 'L1', l1At, tableBytes, 8),
    ...region(bytes, 'L2', l2At, tableBytes, 8),
  ];
}

function qcow(bytes: Buffer): ImageRegion[] {
  const l1At = Number(bytes.readBigUInt64BE(40));
  const l2At = Number(bytes.readBigUInt64BE(l1At));
  return [
    ...region(bytes, 'header', 0, 48, 4),
    ...region(bytes, 'header', 8, 40, 8),
    ...region(bytes, 'header', 32, 4, 1),
    ...region(bytes, 'L1', l1At, 64, 8),
    ...region(bytes, 'L2', l2At, 4096, 8),
  ];
}

function vmdk(bytes: Buffer): ImageRegion[] {
  const sectors = (at: number) => Number(bytes.readBigUInt64LE(at)) * 512;
  const directoryAt = sectors(56) < bytes.length ? sectors(56) : 512;
  const tableAt = bytes.readUInt32LE(directoryAt) * 512;
  return [
    ...region(bytes, 'header', 0, 79, 4),
    ...region(bytes, 'header', 12, 64, 8),
    ...region(bytes, 'descriptor', 512, 1024, 1),
    ...region(bytes, 'grain directory', directoryAt, 64, 4),
    ...region(bytes, 'grain table', tableAt, 2048, 4),
    ...region(bytes, 'markers', bytes.length - 1536, 1536, 4),
  ];
}
