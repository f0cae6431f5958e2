import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { withFileSizeLimit } from '../../tools/file-size-limit.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { MIB, makeImage, workspace } from '../../tools/workspace.ts';
import { runImage } from './run-image.ts';

/** A new image, an empty file `base.raw` and a passphrase beside it. */
async function made(name: string, ...args: string[]) {
  const directory = workspace();
  const file = path.join(directory, name);
  fs.writeFileSync(path.join(directory, 'base.raw'), Buffer.alloc(MIB));
  fs.writeFileSync(path.join(directory, 'key'), 'open sesame');
  const on = name.endsWith('.cow') ? ['-b', 'base.raw'] : [];
  const key = name.endsWith('.luks') ? ['--passphrase-file', 'key'] : [];
  const size = on.length > 0 ? [] : ['1MiB'];
  const created = await runImage(directory, 'create', ...on, ...key, ...args, name, ...size);
  expect(created).toMatchObject({ code: 0, err: '' });
  const poke = (offset: number, ...bytes: number[]) => {
    const fd = fs.openSync(file, 'r+');
    fs.writeSync(fd, Buffer.from(bytes), 0, bytes.length, offset);
    fs.closeSync(fd);
  };
  return { directory, file, poke, run: (...what: string[]) => runImage(directory, ...what) };
}

/** One sentence, that begins by what was run, with the file and all else that it has to say. */
function expectSentence(err: string, ...parts: (string | RegExp)[]) {
  expect(err).toMatch(/^tmem: [^\n]+\n$/);
  for (const part of parts) {
    if (typeof part === 'string') expect(err).toContain(part);
    else expect(err).toMatch(part);
  }
}

const HEADERS = [
  ['qcow2', 72, 104],
  ['qed', 64, 64],
  ['qcow', 48, 48],
  ['vmdk', 512, 512],
  ['cow', 8192, 8192],
  ['luks', 592, 592],
] as const;

describe.each(HEADERS)('a %s image', (format, least, headerBytes) => {
  it.each([8, least - 1, headerBytes - 1])(
    'that ends within its header, after %i bytes, is refused by where it ends',
    async (length) => {
      const { file, run } = await made(`a.${format}`);
      fs.truncateSync(file, length);
      for (const verb of [['info'], ['map'], ['convert', '-O', 'raw', `a.${format}`, 'out.raw']]) {
        const [name = '', ...rest] = verb;
        const { code, err } = await run(name, ...(rest.length > 0 ? rest : [file]));
        expect(code).toBe(2);
        const place = format === 'vmdk' ? `${length} bytes` : `${length}`;
        expectSentence(err, `"${file}"`, new RegExp(`offset (${length}|0)\\b`), place);
        expectSentence(err, /ends|hold no header/);
      }
    },
  );

  it('of other bytes is refused at its beginning', async () => {
    const { file, run, poke } = await made(`a.${format}`);
    for (const place of [0, 4096]) poke(place, ...new Array(64).fill(0x55));
    const { code, err } = await run('info', file);
    expect(code).toBe(2);
    expectSentence(err, `"${file}"`, /offset 0\b/, /magic|header nor the descriptor/);
  });
});

test.each([
  ['qcow2', 40, 66_000],
  ['qed', 40, 66_000],
  ['qcow', 40, 50],
])('a %s image that ends in front of its tables was cut off', async (format, field, length) => {
  const { file, run } = await made(`a.${format}`);
  fs.truncateSync(file, length);
  const { code, err } = await run('convert', file, 'out.raw');
  expect(code).toBe(2);
  expectSentence(err, `"${file}"`, new RegExp(`offset ${field}\\b`), `${length}`, 'cut off');
});

test.each([
  ['qcow2', 72, 0x80, /offset 72, .* needs feature bit 63/],
  ['qcow2', 7, 9, /offset 4, .* version 9/],
  ['qed', 16, 0x80, /offset 16 have bits 0x80/],
  ['vmdk', 4, 9, /offset 4, .*version 9/],
  ['luks', 7, 2, /LUKS version 2/],
])('a %s image that says at %i what is not known here', async (format, offset, byte, sentence) => {
  const { file, run, poke } = await made(`a.${format}`);
  poke(offset, byte);
  const before = fs.readFileSync(file);
  for (const verb of ['info', 'map']) {
    const { code, err } = await run(verb, file);
    expect(code).toBe(2);
    expectSentence(err, `"${file}"`, sentence);
  }
  expect(fs.readFileSync(file).equals(before)).toBe(true);
});

test('a raw image has no snapshot to be read', async () => {
  const { run } = await made('a.qcow2');
  const { code, err } = await run('convert', '-l', 'monday', 'base.raw', 'out.raw');
  expect(code).toBe(2);
  expectSentence(err, 'base.raw', 'raw images have none; leave it out');
});

test('a file that is not there is no raw image without tables', async () => {
  const { run } = await made('a.qcow2');
  for (const verb of ['check', 'repair']) {
    const { code, err } = await run(verb, 'none.raw');
    expect(code).toBe(1);
    expectSentence(err, 'none.raw', 'there is no such file');
  }
  expect((await run('check', 'base.raw')).code).toBe(63);
});

test('a service that is not there is told by the option that named it', async () => {
  const { run } = await made('a.qcow2');
  const missing = await run('check', '--online', 'unix:none.sock', 'a');
  expect(missing.code).toBe(1);
  expectSentence(missing.err, /start it with tmem serve, or name its address with --online\n$/);
  expectSentence(
    (await run('check', '--online', 'nowhere', 'a')).err,
    /^tmem: --online: "nowhere"/,
  );
});

test('an unknown feature is called as the image calls it', async () => {
  const { file, run, poke } = await made('a.qcow2');
  const bytes = fs.readFileSync(file);
  const name = bytes.indexOf('corrupt bit');
  // In front of each name: the kind of feature, and its bit.
  poke(name - 1, 40, ...Buffer.from('time travel'));
  poke(72 + 2, 1);
  expectSentence((await run('info', file)).err, `"${file}"`, 'needs the feature "time travel"');
});

test.each([
  ['x.qcow2', ['-o', 'cluster_size=512'], '7000TiB', /clusters of 512 bytes reach 137438953472/],
  ['x.qed', [], '1000TiB', /at most 70368744177664 bytes; choose larger clusters/],
  ['x.qcow', [], '1000TiB', /too many for clusters of 4096; choose larger/],
  ['x.vmdk', [], '100TiB', /more than 32 TiB; choose another format/],
  ['x.cow', ['-b', 'base.raw'], '8000TiB', /too large a bitmap; choose another format/],
])('%s is not made larger than can be', async (name, options, size, sentence) => {
  const { directory, run } = await made('a.qcow2');
  const { code, err } = await run('create', ...options, name, size);
  expect(code).toBe(2);
  expectSentence(err, `cannot make "${path.join(directory, name)}": `, sentence);
  expect(fs.readdirSync(directory).sort()).toEqual(['a.qcow2', 'base.raw', 'key']);
});

test('a VMDK is not made under a name that its descriptor cannot say, and that is said once', async () => {
  const { directory, run } = await made('a.qcow2');
  const { code, err } = await run('create', 'x"y.vmdk', '1MiB');
  expect(code).toBe(2);
  expectSentence(
    err,
    `tmem: cannot make "${path.join(directory, 'x"y.vmdk')}": a vmdk image cannot`,
  );
  expect(err.match(/cannot make/g)).toHaveLength(1);
});

test('a stream is not made empty, since nobody could read it or write to it', async () => {
  const { directory, run } = await made('a.qcow2');
  const { code, err } = await run('create', '-o', 'subformat=streamOptimized', 'x.vmdk', '1MiB');
  expect(code).toBe(2);
  expectSentence(err, `cannot make "${path.join(directory, 'x.vmdk')}"`, 'tmem image convert');
  expect(fs.existsSync(path.join(directory, 'x.vmdk'))).toBe(false);
});

test.each(['qcow', 'vmdk', 'cow'])('a %s image keeps its size', async (format) => {
  const { file, run } = await made(`a.${format}`);
  const { code, err } = await run('resize', file, '2MiB');
  expect(code).toBe(2);
  expectSentence(err, `"${file}"`, `${format} images have one size`, 'convert it');
});

describe('no space', () => {
  needsPrograms('prlimit', 'qemu-img', 'qemu-io');

  it.each(['raw', 'qcow2', 'qed', 'qcow', 'vmdk'])(
    'for a conversion to %s is told by the name of the target, which is not there',
    async (format) => {
      const { directory, run } = await made('a.qcow2');
      const source = makeImage(directory, 4 * MIB, 'source.raw');
      const target = path.join(directory, `out.${format}`);
      const ran = await withFileSizeLimit(MIB, () => run('convert', source, target));
      expect(ran.code).toBe(1);
      expectSentence(
        ran.err,
        `of "${target}": EFBIG`,
        /at offset \d+/,
        'raise the limit of file sizes',
      );
      expect(fs.readdirSync(directory)).not.toContain(`out.${format}`);
    },
  );

  it('for a larger qcow2 disk leaves it as it was', async () => {
    const { file, run } = await made('a.qcow2');
    await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 1M', file]);
    const { size } = fs.statSync(file);
    const ran = await withFileSizeLimit(size, () => run('resize', file, '60TiB'));
    expect(ran.code).toBe(1);
    expectSentence(
      ran.err,
      `of "${file}": EFBIG`,
      /at offset \d+/,
      'raise the limit of file sizes',
    );
    await runWell('qemu-io', ['-f', 'qcow2', '-r', '-c', 'read -P 7 0 1M', file]);
    expect((await run('info', file)).out).toContain('1MiB (1048576 bytes)');
    expect([0, 3]).toContain((await run('check', file)).code);
  });
});

test.each([
  [['create', '-b', 'a:b.raw', '-F', 'raw', 'x.qcow2'], 'a:b.raw'],
  [['convert', '-B', 'a:b.raw', '-F', 'raw', 'base.raw', 'x.qcow2'], 'a:b.raw'],
  [['rebase', '-u', '-b', 'a:b.raw', '-F', 'raw', 'a.qcow2'], 'a:b.raw'],
  [['create', '-o', 'data_file=a:b.raw', '--force', 'x.qcow2', '1M'], 'a:b.raw'],
  [['convert', '-o', 'subformat=monolithicFlat', 'base.raw', 'x:y.vmdk'], 'x:y-flat.vmdk'],
])('%j is refused, for an image that names such a file cannot be opened', async (args, name) => {
  const { directory, run } = await made('a.qcow2');
  fs.copyFileSync(path.join(directory, 'base.raw'), path.join(directory, 'a:b.raw'));
  const before = fs.readdirSync(directory);
  const { code, err } = await run(...args);
  expect(code).toBe(2);
  expectSentence(err, `no image can name "${name}", which would be a protocol`);
  expect(fs.readdirSync(directory)).toEqual(before);
  const saved = await run('create', '-b', './a:b.raw', '-F', 'raw', 'x.qcow2');
  expect(saved).toMatchObject({ code: 0, err: '' });
  expect(await run('compare', 'x.qcow2', 'a:b.raw')).toMatchObject({ code: 0, err: '' });
});
