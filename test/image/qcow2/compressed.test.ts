import { readFileSync } from 'node:fs';
import { createInflateRaw } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { deflateCodec, zstdCodec } from '../../../src/image/qcow2/reads/compression.ts';
import { Random } from '../../tools/crash-random.ts';
import { needsPrograms } from '../../tools/programs.ts';
import { makeImage, workspace } from '../../tools/workspace.ts';
import {
  contentByQemu,
  contentOf,
  create,
  expectClean,
  expectSame,
  MIB,
  openAt,
} from './images.ts';
import { scribble } from './scribble.ts';

const SIZE = 4 * MIB + 1024;

describe('compressed clusters of ours', () => {
  needsPrograms('qemu-img');

  it.each([
    ['zlib', 65_536, 16],
    ['zlib', 4096, 16],
    ['zlib', 512, 16],
    ['zlib', 65_536, 1],
    ['zlib', 4096, 2],
    ['zlib', 2 * MIB, 16],
    ['zstd', 65_536, 16],
    ['zstd', 4096, 8],
  ])('with %s in clusters of %i bytes, counted in %i bits', async (method, cluster, bits) => {
    const directory = workspace();
    const size = cluster < 4096 ? MIB + 512 : SIZE;
    const model = readFileSync(makeImage(directory, size));
    const options = { compression_type: method, cluster_size: cluster, refcount_bits: bits };
    const image = await create(`${directory}/disk.qcow2`, size, options);
    let disk = await openAt(image);
    const units: Promise<void>[] = [];
    for (let at = 0; at < size; at += cluster) {
      const unit = Buffer.alloc(cluster);
      model.copy(unit, 0, at);
      units.push(disk.writeCompressed(at, unit));
      if (units.length === 16) await Promise.all(units.splice(0));
    }
    await Promise.all(units);
    expectSame(await contentOf(disk), model);
    await disk.close();
    await expectClean(image);
    expectSame(await contentByQemu(image, directory), model, 'content by qemu-img');
    // Counters of one bit leave every cluster to one blob; the tables of large ones are large.
    if (bits > 1 && cluster < MIB) expect(readFileSync(image).length).toBeLessThan(size);
    disk = await openAt(image);
    await scribble(disk, model, new Random(5), { rounds: 6, bytesMax: MIB });
    expectSame(await contentOf(disk), model, 'content written over');
    await disk.close();
    await expectClean(image);
    expectSame(await contentByQemu(image, directory), model, 'content written over, by qemu-img');
  });
});

describe('a codec', () => {
  const cluster = readFileSync(new URL(import.meta.url))
    .toString()
    .repeat(30);
  const plain = Buffer.alloc(65_536, cluster);

  it('for deflate stays within the window of 4 KiB', async () => {
    const blob = await deflateCodec.compress(plain);
    const inflate = createInflateRaw({ windowBits: 12 });
    const chunks: Buffer[] = [];
    for await (const chunk of inflate.end(blob)) chunks.push(chunk);
    expectSame(Buffer.concat(chunks), plain);
  });

  it.each([deflateCodec, zstdCodec])('for $name takes bytes behind the end', async (codec) => {
    const blob = await codec.compress(plain);
    const padded = Buffer.concat([blob, Buffer.alloc(511, 0xee)]);
    const out = Buffer.alloc(plain.length);
    await codec.decompress(padded, out);
    expectSame(out, plain);
  });

  it('for zstd takes several frames', async () => {
    const halves = [plain.subarray(0, 20_000), plain.subarray(20_000)];
    const frames = await Promise.all(halves.map((half) => zstdCodec.compress(half)));
    const skippable = Buffer.from('502a4d1803000000aabbcc', 'hex');
    const out = Buffer.alloc(plain.length);
    const [first, second] = frames;
    if (first === undefined || second === undefined) throw new Error('two frames were made');
    await zstdCodec.decompress(Buffer.concat([first, skippable, second]), out);
    expectSame(out, plain);
  });

  it.each([deflateCodec, zstdCodec])(
    'for $name refuses more and less than asked',
    async (codec) => {
      const blob = await codec.compress(plain);
      await expect(codec.decompress(blob, Buffer.alloc(plain.length - 1))).rejects.toThrow();
      await expect(codec.decompress(blob, Buffer.alloc(plain.length + 1))).rejects.toThrow();
      const cut = blob.subarray(0, blob.length - 20);
      await expect(codec.decompress(cut, Buffer.alloc(plain.length))).rejects.toThrow();
      const noise = Buffer.alloc(400, 'noise');
      await expect(codec.decompress(noise, Buffer.alloc(plain.length))).rejects.toThrow();
    },
  );
});
