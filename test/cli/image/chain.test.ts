import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { hasSameContent, MIB, makeImage, workspace } from '../../tools/workspace.ts';
import { imageJson, runImage } from './run-image.ts';

needsPrograms('qemu-img', 'qemu-io');

/** A base, another one that is longer and partly the same, and an overlay on the first. */
async function chain(format = 'qcow2', settings: readonly string[] = []) {
  const directory = workspace();
  const at = (name: string) => path.join(directory, name);
  const base = makeImage(directory, 3 * MIB, 'base.raw');
  fs.copyFileSync(base, at('other.raw'));
  const fd = fs.openSync(at('other.raw'), 'r+');
  fs.writeSync(fd, Buffer.alloc(300_000, 9), 0, 300_000, MIB);
  fs.writeSync(fd, Buffer.alloc(MIB, 8), 0, MIB, 4 * MIB);
  fs.closeSync(fd);
  const overlay = at(`overlay.${format}`);
  await runWell('qemu-img', [
    ...['create', '-q', '-f', format, ...settings, '-b', 'base.raw', '-F', 'raw', overlay, '5M'],
  ]);
  const writes = ['write -q -P 5 100k 300k', 'write -q -z 1M 128k', 'write -q -P 6 4500k 10k'];
  const commands = writes.flatMap((each) => ['-c', each]);
  await runWell('qemu-io', ['-f', format, ...commands, overlay]);
  const flat = at('flat.raw');
  await runWell('qemu-img', ['convert', '-f', format, '-O', 'raw', overlay, flat]);
  const readsAs = (file: string, fileFormat: string) =>
    runProgram('qemu-img', ['compare', '-f', fileFormat, '-F', 'raw', file, flat]);
  return { directory, at, base, overlay, flat, readsAs };
}

describe.each([
  ['qcow2', []],
  ['qcow2', ['-o', 'compat=0.10,cluster_size=4k']],
  ['qcow2', ['-o', 'extended_l2=on']],
  ['qed', []],
] as const)('%s with %j', (format, settings) => {
  it('is rebased onto another base, and reads the same', async () => {
    const { directory, overlay, readsAs } = await chain(format, settings);
    const ran = await runImage(directory, 'rebase', '-b', 'other.raw', overlay);
    expect(ran).toMatchObject({ code: 0, err: '' });
    const info = await runWell('qemu-img', ['info', '-f', format, '--output=json', overlay]);
    expect(JSON.parse(info)).toMatchObject({ 'backing-filename': 'other.raw' });
    expect((await readsAs(overlay, format)).stdout).toBe('Images are identical.\n');
    expect((await runImage(directory, 'check', overlay)).code).toBe(0);
  });

  it('is flattened, and reads the same without its base', async () => {
    const { directory, overlay, base, readsAs } = await chain(format, settings);
    const ran = await runImage(directory, 'rebase', '--flatten', overlay);
    expect(ran).toMatchObject({ code: 0, err: '' });
    fs.rmSync(base);
    expect((await readsAs(overlay, format)).stdout).toBe('Images are identical.\n');
  });

  it('is committed into its base, which then reads as it did', async () => {
    const { directory, overlay, base, flat, readsAs } = await chain(format, settings);
    expect(await runImage(directory, 'commit', overlay)).toMatchObject({ code: 0, err: '' });
    expect(hasSameContent(base, flat)).toBe(true);
    expect((await readsAs(overlay, format)).stdout).toBe('Images are identical.\n');
  });
});

test('rebase --unsafe changes the name alone', async () => {
  const { directory, overlay, at } = await chain();
  fs.renameSync(at('base.raw'), at('moved.raw'));
  const { size } = fs.statSync(overlay);
  const ran = await runImage(directory, 'rebase', '-u', '-b', 'moved.raw', overlay);
  expect(ran).toMatchObject({ code: 0, err: '' });
  expect(fs.statSync(overlay).size).toBe(size);
  const compared = await runImage(directory, 'compare', overlay, 'flat.raw');
  expect(compared.code).toBe(0);
});

test('rebase puts a cow image on another base, and flattens it', async () => {
  const { directory, at } = await chain();
  fs.truncateSync(at('other.raw'), 3 * MIB);
  await runImage(directory, 'create', '-b', 'base.raw', 'top.cow');
  const readsAsBefore = async () =>
    expect((await runImage(directory, 'compare', 'top.cow', 'was.raw')).code).toBe(0);
  fs.copyFileSync(at('base.raw'), at('was.raw'));
  const ran = await runImage(directory, 'rebase', '-b', 'other.raw', 'top.cow');
  expect(ran).toMatchObject({ code: 0, err: '' });
  fs.rmSync(at('base.raw'));
  await readsAsBefore();
  expect(await runImage(directory, 'rebase', '--flatten', 'top.cow')).toMatchObject({ code: 0 });
  fs.rmSync(at('other.raw'));
  await readsAsBefore();
});

test('an image that does not say of which format its base is is told it, and flattened', async () => {
  const { directory, at } = await chain();
  const file = at('top.qcow');
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow', '-b', 'base.raw', '-F', 'raw', file]);
  const refused = await runImage(directory, 'rebase', '--flatten', file);
  const advice = /say it with --backing-format; a qcow2 image keeps it after tmem image rebase/;
  expect(refused).toMatchObject({ code: 2, err: expect.stringMatching(advice) });
  const ran = await runImage(directory, 'rebase', '--flatten', '-F', 'raw', file);
  expect(ran).toMatchObject({ code: 0, err: '' });
  fs.renameSync(at('base.raw'), at('was.raw'));
  expect((await runImage(directory, 'compare', file, 'was.raw')).code).toBe(0);
});

test.each(['qcow2', 'qed', 'cow'])(
  'rebase --flatten gives zeros below no space in %s',
  async (format) => {
    const directory = workspace();
    const at = (name: string) => path.join(directory, name);
    // Zeros that are stored, but for a byte in two units far from each other.
    const content = Buffer.alloc(8 * MIB);
    content[3 * MIB] = 1;
    content[7 * MIB - 1] = 2;
    fs.writeFileSync(at('base.raw'), content);
    const file = at(`top.${format}`);
    await runImage(directory, 'create', '-b', 'base.raw', file);
    const told = await imageJson(directory, 'rebase', '--flatten', '-F', 'raw', file);
    expect(told).toMatchObject({ copiedBytes: 2 * 65_536 });
    expect(fs.statSync(file).blocks * 512).toBeLessThan(MIB);
    expect(await imageJson(directory, 'check', file)).toMatchObject({
      allocatedUnits: 2,
      leaks: 0,
    });
    expect((await runImage(directory, 'compare', file, 'base.raw')).code).toBe(0);
  },
);

test('rebase is told the format of the old base apart from that of the new one', async () => {
  const { directory, at } = await chain();
  const vmdk = ['-o', 'subformat=monolithicFlat', at('base.raw'), at('base.vmdk')];
  await runWell('qemu-img', ['convert', '-f', 'raw', '-O', 'vmdk', ...vmdk]);
  const file = at('top.qed');
  await runWell('qemu-img', ['create', '-q', '-f', 'qed', '-b', 'base.vmdk', '-F', 'vmdk', file]);
  const wrong = await runImage(directory, 'compare', '--backing-format', 'raw', file, 'base.raw');
  expect(wrong.err).toMatch(/base.vmdk" begins as a vmdk image does, and is taken for raw/);
  const formats = ['-F', 'raw', '--old-backing-format', 'vmdk'];
  const ran = await runImage(directory, 'rebase', ...formats, '-b', 'other.raw', file);
  expect(ran).toMatchObject({ code: 0, err: '' });
  fs.rmSync(at('base.vmdk'));
  const same = await runImage(directory, 'compare', '--backing-format', 'raw', file, 'base.raw');
  expect(same).toMatchObject({ code: 0, err: '' });
});

test.each([
  ['qcow', /qcow images keep their base; convert it with --backing to a new image/],
  ['luks', /luks images cannot stand on another image; put one of another format on it/],
  ['raw', /raw images cannot stand on another image; put one of another format on it/],
])('rebase of a %s image is refused before anything is copied', async (format, sentence) => {
  const { directory, at } = await chain();
  const file = at(`top.${format}`);
  const on = ['-b', 'base.raw', '-F', 'raw'];
  if (format === 'qcow') await runWell('qemu-img', ['create', '-q', '-f', 'qcow', ...on, file]);
  else fs.copyFileSync(at('flat.raw'), file);
  const before = fs.readFileSync(file);
  const ran = await runImage(directory, 'rebase', '-b', 'other.raw', file);
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(sentence) });
  expect(before.equals(fs.readFileSync(file))).toBe(true);
});

test.each([
  ['qcow2', 'cluster_size=512,compat=0.10', 240, 400, /name|header/],
  ['vmdk', 'subformat=monolithicSparse', 240, 200, /must be a vmdk/],
])(
  'rebase of %s (%s) onto a name that it has no room for is refused before anything is copied',
  async (format, settings, nameBytes, depth, sentence) => {
    const { directory, at } = await chain();
    const file = at(`top.${format}`);
    if (format === 'vmdk')
      await runWell('qemu-img', ['create', '-q', '-f', 'vmdk', at('b.vmdk'), '3M']);
    const on = format === 'vmdk' ? ['-b', 'b.vmdk', '-F', 'vmdk'] : ['-b', 'base.raw', '-F', 'raw'];
    const create = ['create', '-q', '-f', format, '-o', settings, ...on, file];
    await runWell('qemu-img', create, { directory });
    const long = './'.repeat(depth) + 'x'.repeat(nameBytes);
    fs.renameSync(at('other.raw'), at(long));
    const before = fs.readFileSync(file);
    const ran = await runImage(directory, 'rebase', '-F', 'raw', '-b', long, file);
    expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(sentence) });
    expect(before.equals(fs.readFileSync(file))).toBe(true);
  },
);

test('rebase refuses to flatten what keeps its base, before anything is copied', async () => {
  const { directory, overlay } = await chain();
  await runWell('qemu-img', ['snapshot', '-c', 'one', overlay]);
  const before = fs.readFileSync(overlay);
  const ran = await runImage(directory, 'rebase', '--flatten', overlay);
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/keeps its backing file/) });
  expect(before.equals(fs.readFileSync(overlay))).toBe(true);
});

test('rebase refuses an image whose snapshots would show something else', async () => {
  const { directory, overlay } = await chain();
  await runWell('qemu-img', ['snapshot', '-c', 'one', overlay]);
  const ran = await runImage(directory, 'rebase', '-b', 'other.raw', overlay);
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/its snapshots would show/) });
});

test('convert --force refuses to replace what it reads, and nothing is changed', async () => {
  const { directory, base, overlay } = await chain();
  const before = fs.readFileSync(base);
  const ran = await runImage(directory, 'convert', '--force', overlay, base);
  expect(ran).toMatchObject({ code: 2, err: expect.stringContaining(base) });
  expect(before.equals(fs.readFileSync(base))).toBe(true);
});

test('rebase onto itself is refused, and nothing is changed', async () => {
  const { directory, overlay } = await chain();
  const before = fs.readFileSync(overlay);
  const ran = await runImage(directory, 'rebase', '-b', 'overlay.qcow2', overlay);
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/cannot stand on itself/) });
  expect(before.equals(fs.readFileSync(overlay))).toBe(true);
});

test('convert --backing writes only what differs from the base', async () => {
  const { directory, at, readsAs } = await chain();
  const { writtenBytes } = await imageJson<{ writtenBytes: number }>(
    ...[directory, 'convert', '-B', 'other.raw', 'flat.raw', 'thin.qcow2'],
  );
  expect((await readsAs(at('thin.qcow2'), 'qcow2')).stdout).toBe('Images are identical.\n');
  expect(writtenBytes).toBeLessThan(MIB);
  expect(writtenBytes).toBeGreaterThan(300 * 1024);
});

test('convert --backing does not read what both have below them', async () => {
  const { directory, at, readsAs } = await chain();
  const { writtenBytes } = await imageJson<{ writtenBytes: number }>(
    ...[directory, 'convert', '-B', 'base.raw', 'overlay.qcow2', 'thin.qcow2'],
  );
  expect((await readsAs(at('thin.qcow2'), 'qcow2')).stdout).toBe('Images are identical.\n');
  expect(writtenBytes).toBeLessThan(600 * 1024);
});

test('commit needs a base', async () => {
  const { directory } = await chain();
  const ran = await runImage(directory, 'commit', 'base.raw');
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/stands on no other image/) });
});

test.each([{ how: [] }, { how: ['--unsafe'] }])(
  'no image comes to stand on one that stands on it ($how)',
  async ({ how }) => {
    const { directory, at } = await chain();
    fs.symlinkSync(at('overlay.qcow2'), at('link.qcow2'));
    await runImage(directory, 'create', '-b', 'overlay.qcow2', 'top.qcow2');
    const before = fs.readFileSync(at('overlay.qcow2'));
    for (const base of ['overlay.qcow2', 'link.qcow2', 'top.qcow2']) {
      const ran = await runImage(directory, 'rebase', ...how, '-b', base, 'overlay.qcow2');
      expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/cannot stand on/) });
    }
    expect(fs.readFileSync(at('overlay.qcow2')).equals(before)).toBe(true);
  },
);

test('an enciphered base opens with the passphrase that is given', async () => {
  const { directory } = await chain();
  fs.writeFileSync(path.join(directory, 'key'), 'a passphrase');
  const key = ['--passphrase-file', 'key'];
  const luks = ['-o', 'encrypt.format=luks,encrypt.iter-time=10'];
  const run = (...args: string[]) => runImage(directory, ...args);
  const ran = { code: 0, err: '' };
  const targetKey = ['--target-passphrase-file', 'key'];
  const convert = ['convert', ...luks, ...targetKey, 'base.raw', 'base.qcow2'];
  expect(await run(...convert)).toMatchObject(ran);
  const create = ['create', '-b', 'base.qcow2'];
  const refused = await run(...create, 'top.qcow2');
  expect(refused).toMatchObject({ code: 2, err: expect.stringMatching(/enciphered with LUKS/) });
  expect(await run(...create, 'plain.qcow2', ...key)).toMatchObject(ran);
  expect(await run(...create, ...luks, 'both.qcow2', ...key)).toMatchObject(ran);
  const onBase = ['-B', 'base.qcow2', ...key, 'both.qcow2', 'thin.qcow2'];
  expect(await run('convert', ...onBase)).toMatchObject(ran);
  expect(await run('rebase', '-b', 'base.raw', 'thin.qcow2', ...key)).toMatchObject(ran);
  expect(await run('rebase', '-b', 'base.qcow2', 'thin.qcow2', ...key)).toMatchObject(ran);
  for (const image of ['plain.qcow2', 'both.qcow2', 'thin.qcow2']) {
    expect(await run('compare', ...key, image, 'base.raw')).toMatchObject(ran);
  }
  // Nobody is to take a plain image for an enciphered one.
  const idle = await run('create', '-b', 'base.raw', 'no.qcow2', ...key);
  expect(idle).toMatchObject({ code: 2, err: expect.stringMatching(/of no use/) });
});

test('a base on which an image could not be opened is refused before anything changes', async () => {
  const directory = workspace();
  const at = (name: string) => path.join(directory, name);
  makeImage(directory, MIB, 'c0.raw');
  const create = (name: string, base: string) =>
    runImage(directory, 'create', '-f', 'qcow2', '-b', base, name);
  for (let depth = 1; depth <= 10; depth++) {
    const base = depth === 1 ? 'c0.raw' : `c${depth - 1}.qcow2`;
    expect(await create(`c${depth}.qcow2`, base)).toMatchObject({ code: 0, err: '' });
  }
  await create('t.qcow2', 'c0.raw');
  const before = fs.readFileSync(at('t.qcow2'));
  const tooMany = { code: 2, err: expect.stringContaining('more than 10 images in a row') };
  for (const args of [
    ['rebase', '-b', 'c10.qcow2', 't.qcow2'],
    ['rebase', '-u', '-b', 'c10.qcow2', 't.qcow2'],
    ['create', '-b', 'c10.qcow2', 'new.qcow2'],
    ['convert', '-B', 'c10.qcow2', 'c0.raw', 'new.qcow2'],
  ]) {
    expect(await runImage(directory, ...args)).toMatchObject(tooMany);
  }
  expect(fs.readFileSync(at('t.qcow2')).equals(before)).toBe(true);
  expect(fs.existsSync(at('new.qcow2'))).toBe(false);
  // One that is as deep as can be does not hinder.
  expect((await runImage(directory, 'rebase', '-b', 'c9.qcow2', 't.qcow2')).code).toBe(0);
  expect(await runImage(directory, 'map', 't.qcow2')).toMatchObject({ code: 0, err: '' });
});

test('who makes an image on a base elsewhere is told what opens it', async () => {
  const directory = workspace();
  fs.mkdirSync(path.join(directory, 'golden'));
  fs.mkdirSync(path.join(directory, 'overlays'));
  makeImage(directory, MIB, 'golden/base.raw');
  makeImage(directory, MIB, 'overlays/here.raw');
  const base = '../golden/base.raw';
  const elsewhere = {
    code: 0,
    err: expect.stringMatching(
      /^tmem: warning: .* which is elsewhere; allow it with --allow-backing ".*golden"\n$/,
    ),
  };
  const file = 'overlays/top.qcow2';
  const allow = ['--allow-backing', 'golden'];
  expect(await runImage(directory, 'create', '-b', base, file)).toMatchObject(elsewhere);
  expect((await runImage(directory, 'map', file)).code).toBe(2);
  expect(await runImage(directory, 'map', ...allow, file)).toMatchObject({ code: 0, err: '' });
  const back = await runImage(directory, 'rebase', ...allow, '-b', 'here.raw', file);
  expect(back).toMatchObject({ code: 0, err: '' });
  expect(await runImage(directory, 'rebase', '-b', base, file)).toMatchObject(elsewhere);
  const converted = ['convert', '-B', base, 'overlays/here.raw', 'overlays/new.qcow2'];
  expect(await runImage(directory, ...converted)).toMatchObject(elsewhere);
  // Who allows it already knows; who got no image is told why alone.
  const allowed = await runImage(directory, 'create', ...allow, '-b', base, 'overlays/a.qcow2');
  expect(allowed).toMatchObject({ code: 0, err: '' });
  const failed = await runImage(directory, 'create', '-b', base, file);
  expect(failed).toMatchObject({ code: 2, err: expect.not.stringContaining('warning') });
});
