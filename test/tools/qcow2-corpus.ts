/** Small qcow2 images of every kind, made by qemu-img, and where the numbers in them are. */

import fs from 'node:fs';
import path from 'node:path';
import type { CorpusImage, ImageRegion } from './image-mutator.ts';
import { runWell } from './programs.ts';

interface Kind {
  readonly name: string;
  readonly settings: string;
  readonly snapshots?: number;
  readonly bitmaps?: number;
}

const KINDS: readonly Kind[] = [
  { name: 'the default', settings: 'cluster_size=64k' },
  { name: 'version 2', settings: 'compat=0.10,cluster_size=4k', snapshots: 1 },
  { name: 'smallest clusters', settings: 'cluster_size=512,refcount_bits=1' },
  { name: 'subclusters', settings: 'cluster_size=16k,extended_l2=on', snapshots: 1 },
  { name: 'snapshots', settings: 'cluster_size=4k', snapshots: 3 },
  { name: 'bitmaps', settings: 'cluster_size=4k', bitmaps: 2 },
  { name: 'zstd', settings: 'cluster_size=8k,compression_type=zstd' },
  { name: 'wide refcounts', settings: 'cluster_size=4k,refcount_bits=64,lazy_refcounts=on' },
  { name: 'narrow refcounts', settings: 'cluster_size=4k,refcount_bits=4' },
];

/** Makes one image of each kind in the directory. */
export async function makeQcow2Corpus(directory: string): Promise<CorpusImage[]> {
  const images: CorpusImage[] = [];
  for (const [index, kind] of KINDS.entries()) {
    const file = path.join(directory, `corpus-${index}.qcow2`);
    await makeImage(file, kind);
    const bytes = fs.readFileSync(file);
    images.push({ name: kind.name, bytes, regions: regionsOf(bytes) });
    fs.unlinkSync(file);
  }
  return images;
}

async function makeImage(file: string, { settings, snapshots = 0, bitmaps = 0 }: Kind) {
  const clusterBytes =
    Number(/cluster_size=(\d+)/.exec(settings)?.[1]) * (/\dk/.test(settings) ? 1024 : 1);
  const io = (...commands: string[]) =>
    runWell('qemu-io', ['-f', 'qcow2', ...commands.flatMap((each) => ['-c', each]), file]);
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', settings, file, '2M']);
  for (let bitmap = 0; bitmap < bitmaps; bitmap++) {
    await runWell('qemu-img', ['bitmap', '--add', '-g', '64k', file, `bitmap${bitmap}`]);
  }
  await io(
    'write -q -P 1 0 40k',
    'write -q -P 2 100k 20k',
    `write -q -c -P 3 512k ${clusterBytes}`,
    `write -q -c -P 4 ${524_288 + clusterBytes} ${clusterBytes}`,
    'write -q -P 5 1536k 64k',
    ...(settings.includes('compat=0.10') ? [] : ['write -q -z 640k 128k', 'discard -q 100k 8k']),
  );
  for (let snapshot = 0; snapshot < snapshots; snapshot++) {
    await runWell('qemu-img', ['snapshot', '-c', `snapshot${snapshot}`, file]);
    await io(`write -q -P ${10 + snapshot} ${snapshot * 16}k 8k`);
  }
}

/** Where the header, its extensions and all tables of a good image are. */
function regionsOf(bytes: Buffer): ImageRegion[] {
  const clusterBytes = 2 ** bytes.readUInt32BE(20);
  const version = bytes.readUInt32BE(4);
  const regions: ImageRegion[] = [];
  const add = (
    name: string,
    offset: number,
    length: number,
    wordBytes: ImageRegion['wordBytes'],
  ) => {
    if (length >= wordBytes && offset + length <= bytes.length) {
      regions.push({ name, offset, length, wordBytes });
    }
  };
  const u64 = (at: number) => Number(bytes.readBigUInt64BE(at) & 0x00ff_ffff_ffff_fe00n);
  const headerBytes = version === 2 ? 72 : bytes.readUInt32BE(100);
  add('header', 0, headerBytes, 4);
  add('header', 0, headerBytes, 8);
  add('header', 16, headerBytes - 16, 1);
  if (bytes.readUInt32BE(headerBytes) !== 0) add('extensions', headerBytes, 480 - headerBytes, 4);
  const addTables = (name: string, offset: number, entries: number) => {
    add(`${name} L1`, offset, entries * 8, 8);
    for (let entry = 0; entry < entries; entry++) {
      const table = u64(offset + entry * 8);
      if (table !== 0) add(`${name} L2`, table, clusterBytes, 8);
    }
  };
  addTables('active', u64(40), bytes.readUInt32BE(36));
  const tableOffset = u64(48);
  add('refcount table', tableOffset, bytes.readUInt32BE(56) * clusterBytes, 8);
  for (let at = tableOffset; u64(at) !== 0; at += 8) {
    add('refcount block', u64(at), clusterBytes, 2);
    add('refcount block', u64(at), clusterBytes, 1);
  }
  let entry = u64(64);
  for (let snapshot = 0; snapshot < bytes.readUInt32BE(60); snapshot++) {
    const extraBytes = bytes.readUInt32BE(entry + 36);
    add('snapshot entry', entry, 40 + extraBytes, 4);
    addTables('snapshot', u64(entry), bytes.readUInt32BE(entry + 8));
    const nameBytes = bytes.readUInt16BE(entry + 12) + bytes.readUInt16BE(entry + 14);
    entry += Math.ceil((40 + extraBytes + nameBytes) / 8) * 8;
  }
  const extension = bytes.indexOf(Buffer.from('2385287500000018', 'hex'), headerBytes);
  if (extension > 0 && extension < clusterBytes) {
    const directory = u64(extension + 8 + 16);
    add('bitmap directory', directory, 80, 4);
    add('bitmap table', u64(directory), 8, 8);
  }
  return regions;
}
