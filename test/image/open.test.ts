import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { FORMAT_NAMES } from '../../src/image/format.ts';
import { formatNameOf } from '../../src/image/formats.ts';
import type { BlockImage } from '../../src/image/image.ts';
import { openImage } from '../../src/image/open.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';
import { needsPrograms } from '../tools/programs.ts';

const MIB = 1 << 20;

/** What `qemu-img map` says of a run. */
interface MapEntry {
  readonly start: number;
  readonly length: number;
  readonly depth: number;
  readonly present: boolean;
  readonly zero: boolean;
}

function qemuImg(...words: string[]): string {
  return execFileSync('qemu-img', words, { encoding: 'utf8' });
}

function qemuIo(file: string, format: string, ...commands: string[]): void {
  const options = commands.flatMap((command) => ['-c', command]);
  expect(
    execFileSync('qemu-io', ['-f', format, ...options, file], { encoding: 'utf8' }),
  ).not.toMatch(/failed|error/i);
}

/** An overlay on each of several formats, with data, zeros and holes in every one of them. */
function makeChain(formats: readonly string[]): string {
  const directory = temporaryDirectory();
  const file = (depth: number) => path.join(directory, `${depth}.${formats[depth]}`);
  for (let depth = formats.length - 1; depth >= 0; depth--) {
    const format = formats[depth] ?? 'raw';
    const below = formats[depth + 1];
    const on = below === undefined ? [] : ['-b', file(depth + 1), '-F', below];
    // The ones below are shorter and longer than those above.
    const sizeKib = depth % 2 === 0 ? 4096 : 3072 + 64;
    qemuImg('create', '-q', '-f', format, ...on, file(depth), `${sizeKib}K`);
    const at = (depth + 1) * 300;
    const commands = [`write -P ${depth + 1} ${at}k 500k`, `write -P ${depth + 65} 2500k 100k`];
    if (format === 'qcow2' || format === 'qed') commands.push(`write -z ${at + 700}k 256k`);
    qemuIo(file(depth), format, ...commands);
  }
  return file(0);
}

async function contentOf(image: BlockImage): Promise<Buffer> {
  const bytes = Buffer.alloc(image.virtualSizeBytes);
  await image.read(bytes, 0, bytes.length, 0);
  return bytes;
}

function flattened(file: string, format: string): Buffer {
  const flat = path.join(temporaryDirectory(), 'flat.raw');
  qemuImg('convert', '-f', format, '-O', 'raw', file, flat);
  return fs.readFileSync(flat);
}

describe.each([
  [['qcow2', 'qcow2', 'raw']],
  [['qcow2', 'qed', 'qcow2', 'raw']],
  [['qed', 'qcow2', 'raw']],
  [['qcow2', 'vmdk']],
  [['qcow2', 'qcow', 'raw']],
])('a chain of %s', (formats) => {
  needsPrograms('qemu-img', 'qemu-io');
  const [top = ''] = formats;
  // These two cannot say of which format the one below is.
  const silent = formats.findIndex((format) => format === 'qed' || format === 'qcow');
  const backingFormatName = FORMAT_NAMES.find((name) => name === formats[silent + 1]);

  it('reads as qemu reads it, and is mapped as qemu maps it', async () => {
    const file = makeChain(formats);
    const image = await openImage(file, { isReadOnly: true, backingFormatName });
    expect((await contentOf(image)).equals(flattened(file, top))).toBe(true);
    const map: MapEntry[] = JSON.parse(qemuImg('map', '-f', top, '--output=json', file));
    for (const { start, length, depth, zero, present } of map) {
      for (let at = start; at < start + length; ) {
        const extent = await image.extent(at, start + length - at);
        const owner = await image.ownerOf(at, extent.length);
        // A raw image at the bottom has all its bytes, of which qemu calls the holes absent.
        if (present) expect({ at, depth: extent.depth }).toEqual({ at, depth });
        expect({ at, zero: extent.isZero }).toEqual({ at, zero });
        expect(owner.depth).toBe(extent.depth);
        at += Math.min(extent.length, owner.length);
      }
    }
    await image.close();
  });

  it('is written to on top alone, and qemu finds it whole', async () => {
    const file = makeChain(formats);
    const below = fs.readdirSync(path.dirname(file)).filter((name) => !file.endsWith(name));
    const before = below.map((name) => fs.readFileSync(path.join(path.dirname(file), name)));
    const image = await openImage(file, { isReadOnly: false, backingFormatName });
    const content = await contentOf(image);
    const bytes = Buffer.alloc(200_000, 0xab);
    for (const offset of [5, 700_001, 2 * MIB - 100_000, 3 * MIB - 77]) {
      await image.write(bytes, 0, bytes.length, offset);
      bytes.copy(content, offset);
    }
    await image.writeZeroes(100_000, 333_333, true);
    content.fill(0, 100_000, 433_333);
    await image.sync();
    await image.close();
    expect(flattened(file, top).equals(content)).toBe(true);
    qemuImg('check', '-q', '-f', top, file);
    for (const [i, name] of below.entries()) {
      expect(fs.readFileSync(path.join(path.dirname(file), name)).equals(before[i]!)).toBe(true);
    }
  });
});

describe('the format of a file name', () => {
  it.each([
    ['disk.qcow2', 'qcow2'],
    ['/a.qcow2/disk', 'raw'],
    ['DISK.VMDK', 'vmdk'],
    ['.qed', 'raw'],
    ['a.b.qed', 'qed'],
    ['disk.constructor', 'raw'],
    ['disk.img', 'raw'],
    ['disk.luks', 'luks'],
    ['disk.qcow', 'qcow'],
    ['disk.cow', 'cow'],
  ])('%s is %s', (name, formatName) => {
    expect(formatNameOf(name)).toBe(formatName);
  });
});
