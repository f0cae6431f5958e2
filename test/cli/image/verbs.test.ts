import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { main } from '../../../src/cli/main.ts';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { startServer } from '../../tools/server.ts';
import { MIB, makeImage, workspace } from '../../tools/workspace.ts';
import { contextIn, imageJson, runImage } from './run-image.ts';

needsPrograms('qemu-img', 'qemu-io');

describe('tmem image compare', () => {
  it('tells the first byte that differs, and the same of zeros behind the end', async () => {
    const directory = workspace();
    const one = makeImage(directory, 3 * MIB, 'one.raw');
    const two = path.join(directory, 'two.raw');
    fs.copyFileSync(one, two);
    fs.truncateSync(two, 4 * MIB);
    expect(await runImage(directory, 'compare', one, two)).toEqual({
      ...{ code: 0, err: '' },
      out: 'the images are identical, but for zeros at the end of the larger one\n',
    });
    const strict = await runImage(directory, 'compare', '-s', one, two);
    expect(strict).toMatchObject({
      code: 1,
      out: `the sizes differ: the smaller one ends at offset ${3 * MIB}\n`,
    });
    const fd = fs.openSync(two, 'r+');
    for (const offset of [4 * MIB - 1, 3 * MIB + 77, 2_345_678]) {
      fs.writeSync(fd, Buffer.of(0xee), 0, 1, offset);
      const ran = await runImage(directory, 'compare', two, one, '--json');
      expect(ran.code).toBe(1);
      expect(JSON.parse(ran.out)).toEqual({
        ...{ isSame: false, hasSameSize: false, difference: { kind: 'content', offset } },
      });
    }
    fs.closeSync(fd);
  });

  it('tells with --strict what is allocated elsewhere', async () => {
    const directory = workspace();
    for (const name of ['a.qcow2', 'b.qcow2']) await runImage(directory, 'create', name, '1M');
    await runWell('qemu-io', [
      '-f',
      'qcow2',
      '-c',
      'write -q -P 0 128k 64k',
      path.join(directory, 'b.qcow2'),
    ]);
    expect((await runImage(directory, 'compare', 'a.qcow2', 'b.qcow2')).code).toBe(0);
    const strict = await runImage(directory, 'compare', '-s', 'a.qcow2', 'b.qcow2');
    expect(strict).toMatchObject({ code: 1, out: 'what is allocated differs at offset 131072\n' });
  });

  it('takes with --strict no zero cluster for one that is not there, as qemu-img', async () => {
    const directory = workspace();
    for (const name of ['a.qcow2', 'b.qcow2', 'c.raw']) {
      await runImage(directory, 'create', name, '1M');
    }
    const b = path.join(directory, 'b.qcow2');
    await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -q -z 128k 64k', b]);
    const theirs = ['compare', '-s', '-f', 'qcow2', '-F', 'qcow2', 'a.qcow2', 'b.qcow2'];
    expect(await runProgram('qemu-img', theirs, { directory })).toMatchObject({
      ...{ code: 1, stdout: expect.stringContaining('block status mismatch') },
    });
    const strict = await runImage(directory, 'compare', '-s', 'a.qcow2', 'b.qcow2');
    expect(strict).toMatchObject({ code: 1, out: 'what is allocated differs at offset 131072\n' });
    expect((await runImage(directory, 'compare', '-s', 'b.qcow2', 'c.raw')).code).toBe(0);
  });

  it('fails with 2', async () => {
    const directory = workspace();
    const ran = await runImage(directory, 'compare', 'none.raw', 'none.qcow2');
    expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/^tmem: [^\n]*no such file/) });
  });
});

describe('tmem image check', () => {
  /** An image with a leaked cluster, or with one that is used and counted as free. */
  async function damaged(count: number): Promise<string> {
    const directory = workspace();
    await runImage(directory, 'create', 'a.qcow2', '1M');
    const file = path.join(directory, 'a.qcow2');
    await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -q 0 64k', file]);
    const bytes = fs.readFileSync(file);
    const block = Number(bytes.readBigUInt64BE(Number(bytes.readBigUInt64BE(48))));
    const used = bytes.length / 65_536;
    bytes.writeUInt16BE(count, block + (count === 0 ? used - 1 : used) * 2);
    fs.writeFileSync(file, count === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(65_536)]));
    return directory;
  }

  it('is clean with 0, corrupt with 2, leaking with 3, without tables with 63', async () => {
    const leaking = await damaged(1);
    expect((await runImage(leaking, 'check', 'a.qcow2')).code).toBe(3);
    const corrupt = await damaged(0);
    expect((await runImage(corrupt, 'check', 'a.qcow2')).code).toBe(2);
    for (const directory of [leaking, corrupt]) {
      expect((await runImage(directory, 'repair', 'a.qcow2')).code).toBe(0);
      expect((await runImage(directory, 'check', 'a.qcow2')).code).toBe(0);
      await runWell('qemu-img', ['check', '-q', path.join(directory, 'a.qcow2')]);
    }
    makeImage(leaking, MIB, 'a.raw');
    expect((await runImage(leaking, 'check', 'a.raw')).code).toBe(63);
    expect((await runImage(leaking, 'check', 'none.qcow2')).code).toBe(1);
    expect((await runImage(leaking, 'check', '--repair=some', 'a.qcow2')).code).toBe(1);
  });

  it.each([
    ['qcow2', 79, 0x40],
    ['qed', 16, 0x40],
  ])('could not check a %s image with an unknown feature, as qemu-img could not', async (...of) => {
    const [format, at, feature] = of;
    const directory = workspace();
    const file = path.join(directory, `a.${format}`);
    await runWell('qemu-img', ['create', '-q', '-f', format, file, '1M']);
    const bytes = fs.readFileSync(file);
    bytes[at] = feature;
    fs.writeFileSync(file, bytes);
    expect((await runProgram('qemu-img', ['check', '-f', format, file])).code).toBe(1);
    expect((await runImage(directory, 'check', `a.${format}`)).code).toBe(1);
  });

  it('has a report for programs', async () => {
    const directory = await damaged(1);
    const ran = await runImage(directory, 'check', '--json', '--repair=leaks', 'a.qcow2');
    expect(JSON.parse(ran.out)).toMatchObject({
      ...{ formatName: 'qcow2', corruptions: 0, leaks: 0, leaksFixed: 1, errors: 0 },
      findings: [{ kind: 'leak', isRepaired: true }],
    });
  });

  it('asks a service that has the image open', async () => {
    const directory = workspace();
    await runImage(directory, 'create', 'a.qed', '1M');
    await runImage(directory, 'create', 'b.qcow2', '1M');
    const socket = path.join(directory, 'admin.sock');
    const server = await startServer(directory, [
      '--admin',
      `unix:${socket}`,
      'a=a.qed',
      'b=b.qcow2',
    ]);
    const locked = await runImage(directory, 'check', 'a.qed');
    expect(locked).toMatchObject({ code: 1, err: expect.stringMatching(/cannot lock/) });
    const online = ['check', '--online', `unix:${socket}`];
    expect((await runImage(directory, ...online, 'a')).code).toBe(0);
    expect((await runImage(directory, ...online, 'none')).code).toBe(1);
    await server.stop();
  });
});

test.each([
  ['qcow2', []],
  ['qcow2', ['-o', 'cluster_size=4k,refcount_bits=64']],
  ['raw', []],
])('measure tells for %s %j what qemu-img tells', async (format, settings) => {
  const directory = workspace();
  makeImage(directory, 5 * MIB, 'source.raw');
  for (const what of [
    ['-f', 'raw', 'source.raw'],
    ['--size', '3G'],
  ]) {
    const args = ['measure', '-O', format, ...settings, ...what];
    const theirs = JSON.parse(await runWell('qemu-img', [...args, '--output=json'], { directory }));
    expect(await imageJson(directory, ...args)).toEqual({
      requiredBytes: theirs.required,
      fullyAllocatedBytes: theirs['fully-allocated'],
    });
  }
});

test.each(['qed', 'qcow', 'vmdk', 'cow'])('measure tells how large %s becomes', async (format) => {
  const directory = workspace();
  makeImage(directory, 5 * MIB, 'source.raw');
  const { requiredBytes } = await imageJson<{ requiredBytes: number }>(
    ...[directory, 'measure', '-O', format, 'source.raw'],
  );
  await runImage(directory, 'convert', 'source.raw', `a.${format}`);
  expect(fs.statSync(path.join(directory, `a.${format}`)).size).toBe(requiredBytes);
});

test.each(['raw', 'qcow2', 'qed', 'vmdk'])('resize changes %s as qemu reads it', async (format) => {
  const directory = workspace();
  const source = makeImage(directory, 2 * MIB, 'source.raw');
  const file = path.join(directory, `a.${format}`);
  await runImage(directory, 'convert', source, file);
  const ran = await runImage(directory, 'resize', file, '+1M');
  if (format === 'vmdk') return expect(ran.code).toBe(2);
  expect(ran).toMatchObject({ code: 0, err: '' });
  const compared = await runWell('qemu-img', ['compare', '-f', 'raw', '-F', format, source, file]);
  expect(compared).toMatch(/identical/);
  const info = JSON.parse(await runWell('qemu-img', ['info', '-f', format, '--output=json', file]));
  expect(info['virtual-size']).toBe(3 * MIB);
  const refused = await runImage(directory, 'resize', file, '-2M');
  expect(refused).toMatchObject({
    code: 2,
    err: expect.stringMatching(/would be lost; say --shrink/),
  });
});

test('resize takes all of a disk away where the image has an end besides, and gives it back', async () => {
  const directory = workspace();
  const file = path.join(directory, 'a.qcow2');
  await runImage(directory, 'convert', makeImage(directory, 2 * MIB, 'a.raw'), file);
  expect(await runImage(directory, 'resize', file, '0')).toMatchObject({ code: 2 });
  const ran = await runImage(directory, 'resize', '--shrink', file, '0');
  expect(ran).toMatchObject({ code: 0, err: '' });
  await runWell('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
  await runImage(directory, 'resize', file, '1M');
  await runWell('qemu-io', ['-f', 'qcow2', '-c', 'read -q -P 0 0 1M', file]);
  const refused = await runImage(directory, 'resize', '--shrink', 'a.raw', '0');
  expect(refused).toMatchObject({ code: 2, err: expect.stringMatching(/at least 512\n$/) });
});

test('resize says the size that a disk has, and that less cannot be taken away than there is', async () => {
  const directory = workspace();
  makeImage(directory, 1 * MIB, 'a.raw');
  const grown = await runImage(directory, 'resize', 'a.raw', '+1');
  expect(grown.out).toMatch(/ has 1049088 bytes \(/);
  expect(await runImage(directory, 'resize', '--shrink', 'a.raw', '-1GiB')).toMatchObject({
    code: 2,
    err: expect.stringMatching(/has 1049088 bytes [^\n]* cannot be less by 1GiB\n$/),
  });
});

test('map ends well when nobody reads it any more', async () => {
  const directory = workspace();
  await runImage(directory, 'create', 'a.qcow2', '1M');
  const context = contextIn(directory);
  context.unreadController.abort();
  expect(await main(['image', 'map', 'a.qcow2'], context)).toBe(0);
  expect(context.err).toBe('');
});

test('create tells the size that the disk has, in whole sectors', async () => {
  const directory = workspace();
  const made = await imageJson(directory, 'create', 'a.qcow2', '4528');
  expect(made).toMatchObject({ virtualSizeBytes: 4608 });
  expect(await imageJson(directory, 'info', 'a.qcow2')).toMatchObject({ virtualSizeBytes: 4608 });
});

test.each(['info', 'check'])(
  '%s warns of an image that is taken for raw by its name',
  async (verb) => {
    const directory = workspace();
    await runImage(directory, 'create', '-f', 'qcow2', 'disk', '1MiB');
    const { err } = await runImage(directory, verb, 'disk');
    expect(err).toMatch(/warning: .*disk" begins as a qcow2 image does, and is taken for raw/);
    expect((await runImage(directory, verb, '-f', 'qcow2', 'disk')).err).toBe('');
  },
);

test('info and map tell programs what qemu-img tells', async () => {
  const directory = workspace();
  makeImage(directory, MIB, 'base.raw');
  await runImage(directory, 'create', '-b', 'base.raw', 'top.qcow2');
  const file = path.join(directory, 'top.qcow2');
  await runWell('qemu-io', [
    '-f',
    'qcow2',
    '-c',
    'write -q 0 64k',
    '-c',
    'write -q -z 512k 64k',
    file,
  ]);
  expect(await imageJson(directory, 'info', '--backing-chain', file)).toMatchObject([
    {
      ...{ path: file, format: 'qcow2', virtualSizeBytes: MIB, unitBytes: 65_536 },
      backing: { role: 'backing file', name: 'base.raw', format: 'raw' },
    },
    { format: 'raw', virtualSizeBytes: MIB, backing: null },
  ]);
  fs.renameSync(path.join(directory, 'base.raw'), path.join(directory, 'away.raw'));
  const info = await runImage(directory, 'info', file);
  expect(info).toMatchObject({ code: 0, out: expect.stringMatching(/^refcount bits +16$/m) });
  fs.renameSync(path.join(directory, 'away.raw'), path.join(directory, 'base.raw'));
  const theirs = JSON.parse(await runWell('qemu-img', ['map', '--output=json', file]));
  type Run = Record<'start' | 'length' | 'depth', number> & Record<'zero' | 'data', boolean>;
  const facts = ({ start, length, depth, zero, data }: Run) => ({
    start,
    length,
    depth,
    zero,
    data,
  });
  const ours = await imageJson<Run[]>(directory, 'map', file);
  expect(ours.map(facts)).toEqual((theirs as Run[]).map(facts));
});
