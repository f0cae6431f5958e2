import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runProgram, runWell } from '../tools/programs.ts';
import { makeWithKeySlot, SECRET } from '../tools/qemu-luks.ts';
import { runTmem, startServer, TMEM } from '../tools/server.ts';
import { MIB, makeEmptyImage, workspace } from '../tools/workspace.ts';

needsPrograms('qemu-img', 'qemu-io');

/** Makes an image in the directory; answers what the program is asked to serve, and how. */
type Case = [string, (directory: string) => Promise<string[]> | string[], RegExp];

async function create(directory: string, name: string, format: string, ...more: string[]) {
  const file = path.join(directory, name);
  await runWell('qemu-img', ['create', '-q', '-f', format, ...more, file, '4M']);
  return file;
}

function poke(file: string, offset: number, bytes: Buffer | string): string {
  const fd = fs.openSync(file, 'r+');
  fs.writeSync(fd, Buffer.from(bytes), 0, bytes.length, offset);
  fs.closeSync(fd);
  return file;
}

function cut(file: string, bytes: number): string {
  fs.truncateSync(file, bytes);
  return file;
}

/** An overlay that names `backing`, which need not be there. */
async function overlay(directory: string, backing: string, format = 'raw'): Promise<string> {
  const on = ['-u', '-b', backing, '-F', format];
  return create(directory, 'top.qcow2', 'qcow2', ...on);
}

async function luks(directory: string): Promise<string> {
  const file = path.join(directory, 'disk.luks');
  const args = ['-o', 'key-secret=key,iter-time=10', file, '1M'];
  await makeWithKeySlot(['create', '-q', '-f', 'luks', ...SECRET, ...args]);
  return file;
}

function passphrase(directory: string, text: string): string[] {
  fs.writeFileSync(path.join(directory, 'key'), text);
  return ['--passphrase-file', path.join(directory, 'key')];
}

const CASES: readonly Case[] = [
  ...['qed', 'qcow', 'vmdk', 'cow', 'luks'].map((format): Case => {
    const make = async (d: string) => [await create(d, 'disk.qcow2', 'qcow2'), '--format', format];
    return [
      `a qcow2 image that is called ${format}`,
      make,
      new RegExp(`disk.qcow2.*${format}`, 'i'),
    ];
  }),
  ...['qcow2', 'qed', 'qcow', 'vmdk', 'cow', 'luks'].map((format): Case => {
    const make = (d: string) => [makeEmptyImage(d, MIB, `zeros.${format}`)];
    return [`a file of zeros called .${format}`, make, new RegExp(`zeros.${format}`)];
  }),
  ...['qcow2', 'qed', 'qcow', 'vmdk'].map((format): Case => {
    const make = async (d: string) => [cut(await create(d, `cut.${format}`, format), 40)];
    return [`a ${format} image that ends in its header`, make, new RegExp(`cut.${format}`)];
  }),
  [
    'a qcow2 image whose tables were cut off',
    async (d) => [cut(await create(d, 'cut.qcow2', 'qcow2'), 70_000)],
    /cut.qcow2.*cut off/,
  ],
  [
    'a format that there is not',
    (d) => [makeEmptyImage(d, MIB), '--format', 'vdi'],
    /--format: "vdi".*qcow2/,
  ],
  [
    'an unknown feature',
    async (d) => [poke(await create(d, 'a.qcow2', 'qcow2'), 72, '\x80')],
    /featur/,
  ],
  [
    'a name elsewhere',
    async (d) => [await overlay(d, '/etc/hostname')],
    /elsewhere.*--allow-backing/,
  ],
  ['a name above', async (d) => [await overlay(d, '../../etc/hostname')], /elsewhere.*--allow/],
  ['a name of a device', async (d) => [await overlay(d, '/dev/zero')], /\/dev/],
  [
    'a JSON name',
    async (d) => [await overlay(d, 'json:{"driver":"null-co"}')],
    /protocol and no file/,
  ],
  [
    'a name of a server',
    async (d) => [await overlay(d, 'nbd://localhost/x')],
    /protocol and no file/,
  ],
  [
    'a name that is not there',
    async (d) => [await overlay(d, 'gone.raw')],
    /gone.raw.*no such file/,
  ],
  ['a name of itself', async (d) => [await overlay(d, 'top.qcow2', 'qcow2')], /loop/],
  [
    'a name that is a link',
    async (d) => {
      fs.symlinkSync('/etc/hostname', path.join(d, 'link.raw'));
      return [await overlay(d, 'link.raw')];
    },
    /symbolic link/,
  ],
  [
    'an extent elsewhere',
    async (d) => {
      const file = await create(d, 'disk.vmdk', 'vmdk', '-o', 'subformat=monolithicFlat');
      const text = fs.readFileSync(file, 'utf8').replace('disk-flat.vmdk', '/etc/hostname');
      fs.writeFileSync(file, text);
      return [file];
    },
    /extent.*elsewhere/,
  ],
  ['a LUKS image without a passphrase', async (d) => [await luks(d)], /--passphrase-file/],
  [
    'a LUKS image with another passphrase',
    async (d) => [await luks(d), ...passphrase(d, 'wrong\n')],
    /passphrase opens no key slot.*disk.luks/,
  ],
  [
    'a LUKS image with a file without a passphrase',
    async (d) => [await luks(d), ...passphrase(d, '\n')],
    /holds no passphrase/,
  ],
  [
    'the copy of a base that snapshots still show',
    async (d) => {
      makeEmptyImage(d, 4 * MIB, 'base.raw');
      const file = await overlay(d, 'base.raw');
      await runWell('qemu-img', ['snapshot', '-c', 'nightly', file]);
      return [file, '--copy-base', '1MiB'];
    },
    /top.qcow2" keeps its backing file: its snapshots/,
  ],
  [
    'the copy of the parent of a VMDK',
    async (d) => {
      await create(d, 'base.vmdk', 'vmdk');
      const file = path.join(d, 'top.vmdk');
      const on = ['-b', 'base.vmdk', '-F', 'vmdk', file];
      await runWell('qemu-img', ['create', '-q', '-f', 'vmdk', ...on], { directory: d });
      return [file, '--copy-base', '1MiB'];
    },
    /top.vmdk" keeps its backing file, as all vmdk images do; convert it/,
  ],
  [
    'an image whose tables leave no room in the memory',
    async (d) => {
      const file = path.join(d, 'fine.qcow2');
      const fine = ['-o', 'cluster_size=512', file, '64G'];
      await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', ...fine]);
      return [file, '--memory', '64MiB'];
    },
    /fine.qcow2": \S+ of its tables are in memory .*, and 16MiB may be; give more memory/,
  ],
  [
    'an internal snapshot that there is not',
    async (d) => {
      const file = await create(d, 'disk.qcow2', 'qcow2');
      return [file, '--mode', 'read-only', '--load-snapshot', 'nightly'];
    },
    /disk.qcow2.*nightly/,
  ],
  [
    'an internal snapshot to be written',
    async (d) => [await create(d, 'disk.qcow2', 'qcow2'), '--load-snapshot', 'nightly'],
    /give it the mode read-only/,
  ],
];

test.each(CASES)('%s is refused in one sentence', async (_, make, sentence) => {
  const directory = workspace();
  const args = await make(directory);
  const before = fs.readFileSync(args[0] ?? '');
  const place = ['--listen', `unix:${path.join(directory, 'nbd.sock')}`, '--admin', 'none'];
  const ended = await runTmem(['serve', ...args, ...place], { directory });
  expect(ended).toMatchObject({ code: 2, signal: null, stdout: '' });
  expect(ended.stderr).toMatch(/^tmem: [^\n]+\n$/);
  expect(ended.stderr).toMatch(sentence);
  expect(fs.readFileSync(args[0] ?? '').equals(before)).toBe(true);
});

test('an image that may only be read is served read-only, and otherwise refused', async () => {
  const directory = workspace();
  const image = await create(directory, 'disk.qcow2', 'qcow2');
  await runWell('qemu-io', ['-c', 'write -P 5 1M 64k', image]);
  fs.chmodSync(image, 0o444);
  const before = fs.readFileSync(image);
  if (process.getuid?.() !== 0) {
    const refused = await runTmem(['serve', image, '--admin', 'none']);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(/may not open it/) });
  } else {
    const bare = ['--bounding-set=-all', '--inh-caps=-all', '--', process.execPath, TMEM];
    const refused = await runProgram('setpriv', [...bare, 'serve', image, '--admin', 'none']);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(/may not open it/) });
  }
  const server = await startServer(directory, [image, '--mode', 'read-only']);
  const read = ['-r', '-f', 'raw', '-c', 'read -P 5 1M 64k', '-c', 'read -P 0 2M 64k'];
  await runWell('qemu-io', [...read, server.uri()]);
  await server.stop();
  expect(fs.readFileSync(image).equals(before)).toBe(true);
});

test('an image is served by its name’s ending, whatever its letters, and a guest’s bytes are none', async () => {
  const directory = workspace();
  const image = await create(directory, 'DISK.QCOW2', 'qcow2');
  const raw = path.join(directory, 'disk.img');
  fs.copyFileSync(image, raw);
  fs.truncateSync(raw, MIB);
  const server = await startServer(directory, [`a=${image}`, `b=${raw}`]);
  const sizes = await Promise.all(
    ['a', 'b'].map((name) => runWell('nbdinfo', ['--size', server.uri(name)])),
  );
  expect(sizes.map(Number)).toEqual([4 * MIB, MIB]);
  server.signal('SIGTERM');
  const { stderr } = await server.ended;
  expect(stderr).toMatch(/disk.img.*begins as a qcow2 image does, and is taken for raw/);
});
