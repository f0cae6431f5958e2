import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CheckOptions } from '../../../src/image/format.ts';
import { checkQcow2, repairRefcounts } from '../../../src/image/qcow2/check/check.ts';
import { EXTENSION } from '../../../src/image/qcow2/structures/layout.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { type CorpusImage, damage } from '../../tools/image-mutator.ts';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { makeQcow2Corpus } from '../../tools/qcow2-corpus.ts';
import { makeWithKeySlot, SECRET } from '../../tools/qemu-luks.ts';
import { SEED } from '../../tools/seed.ts';
import { workspace } from '../../tools/workspace.ts';
import { extensionAt } from './damaged-tables.ts';

/** Where reading a damaged image ends is a matter of taste; that it is damaged is not. */
type Verdict = 'clean' | 'leaks' | 'damaged';

const VERDICTS: Readonly<Record<number, Verdict>> = { 0: 'clean', 3: 'leaks' };
const DAMAGES = 60;

async function check(bytes: Buffer, repair?: CheckOptions['repair']) {
  const storage = new MemoryStorage(Buffer.from(bytes), { isContainer: true });
  const openFile = () => Promise.reject(new Error('a check opens no other file'));
  const report = await checkQcow2(storage, { repair, openFile });
  const after = Buffer.alloc(storage.sizeBytes);
  await storage.read(after, 0, after.length, 0);
  return { report, after };
}

async function ourVerdict(bytes: Buffer, repair?: CheckOptions['repair']) {
  try {
    const { report, after } = await check(bytes, repair);
    const { corruptions, errors, leaks } = report;
    const verdict: Verdict = corruptions + errors > 0 ? 'damaged' : leaks > 0 ? 'leaks' : 'clean';
    return { verdict, after };
  } catch (cause) {
    // Anything but this is a crash, and fails the test.
    if (!(cause instanceof TmemError)) throw cause;
    return { verdict: 'damaged' as const, after: bytes };
  }
}

async function theirVerdict(file: string): Promise<Verdict> {
  const { code } = await runProgram('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
  return VERDICTS[code ?? 1] ?? 'damaged';
}

async function corpus(): Promise<{ images: CorpusImage[]; file: string }> {
  const directory = workspace();
  const images = await makeQcow2Corpus(directory);
  return { images, file: path.join(directory, 'damaged.qcow2') };
}

function named(images: readonly CorpusImage[], name: string): Buffer {
  const found = images.find((image) => image.name === name);
  if (found === undefined) throw new Error(`no image "${name}"`);
  return found.bytes;
}

describe('the check of qcow2', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it('counts in good images what qemu-img counts', async () => {
    const { images, file } = await corpus();
    for (const { name, bytes } of images) {
      fs.writeFileSync(file, bytes);
      const args = ['check', '--output=json', '-f', 'qcow2', file];
      const theirs = JSON.parse(await runWell('qemu-img', args));
      const { report } = await check(bytes);
      expect(report, name).toMatchObject({
        corruptions: 0,
        leaks: 0,
        errors: 0,
        findings: [],
        totalUnits: theirs['total-clusters'],
        allocatedUnits: theirs['allocated-clusters'],
        compressedUnits: theirs['compressed-clusters'],
        fragmentedUnits: theirs['fragmented-clusters'] ?? 0,
        imageEndOffset: theirs['image-end-offset'],
      });
    }
  });

  it('finds damaged images as good or bad as qemu-img does, and so after repairing them', async () => {
    const { images, file } = await corpus();
    let cleanAfterwards = 0;
    for (let index = 0; index < DAMAGES; index++) {
      const { bytes, what } = damage(images, SEED + index);
      fs.writeFileSync(file, bytes);
      const ours = await ourVerdict(bytes);
      expect(ours.verdict, what).toBe(await theirVerdict(file));
      if (ours.verdict === 'clean') continue;
      const repaired = await ourVerdict(bytes, 'all');
      fs.writeFileSync(file, repaired.after);
      expect(await theirVerdict(file), `repaired: ${what}`).toBe(repaired.verdict);
      if (repaired.verdict === 'clean') cleanAfterwards++;
    }
    expect(cleanAfterwards).toBeGreaterThan(DAMAGES / 20);
  });

  it('makes lost refcounts anew without changing what the guest reads', async () => {
    const { images, file } = await corpus();
    for (const { name, bytes } of images) {
      fs.writeFileSync(`${file}.good`, bytes);
      const bad = Buffer.from(bytes);
      bad.fill(0, Number(bad.readBigUInt64BE(48)), Number(bad.readBigUInt64BE(48)) + 512);
      const { report, after } = await check(bad, 'all');
      expect(report, name).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
      expect(report.corruptionsFixed, name).toBeGreaterThan(0);
      expect(report.findings.every(({ isRepaired }) => isRepaired)).toBe(true);
      fs.writeFileSync(file, after);
      await runWell('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
      const pair = ['-f', 'qcow2', '-F', 'qcow2', file, `${file}.good`];
      await runWell('qemu-img', ['compare', '-q', ...pair]);
    }
  });

  it('gives leaked clusters back, but not while a table is not readable', async () => {
    const { images, file } = await corpus();
    const good = named(images, 'narrow refcounts');
    const leaky = Buffer.concat([good, Buffer.alloc(8192)]);
    const block = Number(good.readBigUInt64BE(Number(good.readBigUInt64BE(48))));
    // Counters of four bits: two clusters behind the end, and they share a byte or do not.
    for (const cluster of [good.length / 4096, good.length / 4096 + 1]) {
      leaky[block + (cluster >> 1)]! |= 1 << ((cluster & 1) * 4);
    }
    expect((await check(leaky)).report).toMatchObject({ leaks: 2, corruptions: 0 });
    const { report, after } = await check(leaky, 'leaks');
    expect(report).toMatchObject({ leaks: 0, leaksFixed: 2, corruptions: 0 });
    fs.writeFileSync(file, after);
    await runWell('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
    // The first L2 table is said to be where none can be: what it refers to seems to be leaked.
    const broken = Buffer.from(leaky);
    broken[Number(good.readBigUInt64BE(40)) + 6]! ^= 0x02;
    const stuck = await check(broken, 'all');
    expect(stuck.report).toMatchObject({ leaks: 0, leaksFixed: 0 });
    expect(stuck.after.equals(broken)).toBe(true);
  });

  it('calls nothing leaked that a damaged snapshot table may have', async () => {
    const { images } = await corpus();
    const bad = Buffer.from(named(images, 'snapshots'));
    // The first snapshot is said to have more data of its own than the file has bytes.
    bad.writeUInt32BE(0x7fff_ffff, Number(bad.readBigUInt64BE(64)) + 36);
    const { report } = await check(bad);
    expect(report.corruptions + report.errors).toBeGreaterThan(0);
    expect(report.leaks).toBe(0);
  });

  it('flags what was shared with a snapshot as not shared, when what the snapshot leaked is given back', async () => {
    const { images, file } = await corpus();
    for (const name of ['version 2', 'subclusters', 'snapshots']) {
      const good = named(images, name);
      fs.writeFileSync(`${file}.good`, good);
      // As when a snapshot was being deleted: it is out of the table, and still counted.
      const leaky = Buffer.from(good);
      leaky.writeUInt32BE(0, 60);
      const before = (await check(leaky)).report;
      expect(before, name).toMatchObject({ corruptions: 0, errors: 0 });
      const { report, after } = await check(leaky, 'leaks');
      expect(report, name).toMatchObject({ corruptions: 0, leaks: 0, leaksFixed: before.leaks });
      fs.writeFileSync(file, after);
      await runWell('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
      await runWell('qemu-img', [
        'compare',
        '-q',
        '-f',
        'qcow2',
        '-F',
        'qcow2',
        file,
        `${file}.good`,
      ]);
    }
  });

  it('calls nothing leaked that an L2 table said to be behind the end of the file may have', async () => {
    const { images } = await corpus();
    for (const { name, bytes } of images) {
      const bad = Buffer.from(bytes);
      // A bit of the first L1 entry, of 2^40.
      bad[Number(bytes.readBigUInt64BE(40)) + 2]! ^= 0x01;
      const { report, after } = await check(bad, 'all');
      expect(report.corruptions, name).toBeGreaterThan(0);
      expect(report, name).toMatchObject({ leaks: 0, leaksFixed: 0 });
      expect(after.equals(bad), name).toBe(true);
    }
  });

  it('calls nothing leaked that a LUKS header may have, when it is not said where that is', async () => {
    const file = path.join(workspace(), 'disk.qcow2');
    const settings = 'encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10';
    const args = ['create', '-q', ...SECRET, '-f', 'qcow2', '-o', settings, file, '1M'];
    await makeWithKeySlot(args);
    const good = fs.readFileSync(file);
    const pointer = extensionAt(good, EXTENSION.encryption);
    for (const change of [
      (bad: Buffer) => bad.writeUInt32BE(0x1234_5678, pointer - 8),
      (bad: Buffer) => bad.writeBigUInt64BE(1n << 40n, pointer),
    ]) {
      const bad = Buffer.from(good);
      change(bad);
      const { report, after } = await check(bad, 'all');
      expect(report).toMatchObject({ corruptions: 1, leaks: 0, leaksFixed: 0 });
      expect(after.equals(bad)).toBe(true);
    }
  });

  it('gives back no cluster whose entry says of its subclusters what cannot be', async () => {
    const { images } = await corpus();
    const good = named(images, 'subclusters');
    const mask = (1n << 56n) - 512n;
    const table = Number(good.readBigUInt64BE(Number(good.readBigUInt64BE(40))) & mask);
    const kinds = new Set<boolean>();
    for (let at = table; at < table + 16384; at += 16) {
      const entry = good.readBigUInt64BE(at);
      if ((entry & mask) === 0n) continue;
      kinds.add((entry & (1n << 62n)) !== 0n);
      const bad = Buffer.from(good);
      bad.fill(0xff, at + 8, at + 16);
      const { report, after } = await check(bad, 'leaks');
      expect(report).toMatchObject({ corruptions: 1, leaks: 0, leaksFixed: 0 });
      expect(after.equals(bad)).toBe(true);
    }
    expect(kinds).toEqual(new Set([false, true]));
  });

  it('gives nothing back where counts lie in a table: what they say is something else', async () => {
    const { images } = await corpus();
    for (const { name, bytes } of images) {
      const bad = Buffer.from(bytes);
      const l1 = Number(bad.readBigUInt64BE(40));
      bad.writeBigUInt64BE(BigInt(l1), Number(bad.readBigUInt64BE(48)));
      const { report, after } = await check(bad, 'leaks');
      expect(report.corruptions, name).toBeGreaterThan(0);
      expect(report.leaksFixed, name).toBe(0);
      expect(after.equals(bad), name).toBe(true);
    }
  });

  it('mends an image that was not closed, and its data are there', async () => {
    const directory = workspace();
    const file = path.join(directory, 'dirty.qcow2');
    const settings = 'lazy_refcounts=on,cluster_size=4k';
    await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', settings, file, '4M']);
    const commands = ['write -q -P 7 0 300k', 'write -q -P 8 1M 64k', 'flush', 'sigraise 9'];
    await runProgram('qemu-io', ['-f', 'qcow2', ...commands.flatMap((each) => ['-c', each]), file]);
    const bytes = fs.readFileSync(file);
    expect(bytes[79]! & 1).toBe(1);
    expect(await theirVerdict(file)).toBe('damaged');
    const storage = new MemoryStorage(bytes, { isContainer: true });
    await repairRefcounts(storage);
    const after = Buffer.alloc(storage.sizeBytes);
    await storage.read(after, 0, after.length, 0);
    expect(after[79]! & 1).toBe(0);
    fs.writeFileSync(file, after);
    await runWell('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
    const reads = ['-c', 'read -P 7 0 300k', '-c', 'read -P 8 1M 64k'];
    const said = await runWell('qemu-io', ['-f', 'qcow2', ...reads, file]);
    expect(said).not.toMatch(/verification failed/);
  });

  it('reads a table once, however many refer to it', async () => {
    const { images } = await corpus();
    const good = named(images, 'the default');
    const l1At = Number(good.readBigUInt64BE(40));
    const entries = 1 << 20;
    const bomb = Buffer.concat([good, Buffer.alloc(entries * 8)]);
    for (let entry = 0; entry < entries; entry++) {
      good.copy(bomb, good.length + entry * 8, l1At, l1At + 8);
    }
    bomb.writeUInt32BE(entries, 36);
    bomb.writeBigUInt64BE(BigInt(good.length), 40);
    const storage = new MemoryStorage(bomb, { isContainer: true });
    let bytesRead = 0;
    const read = storage.read.bind(storage);
    storage.read = (buffer, at, length, offset) => {
      bytesRead += length;
      return read(buffer, at, length, offset);
    };
    const openFile = () => Promise.reject(new Error('a check opens no other file'));
    const report = await checkQcow2(storage, { openFile });
    expect(report.corruptions).toBeGreaterThan(0);
    expect(report.findings.length).toBeLessThanOrEqual(1000);
    expect(bytesRead).toBeLessThan(2 * bomb.length);
  });
});
