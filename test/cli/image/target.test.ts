import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { main } from '../../../src/cli/main.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import { leaveOutWithout, runProgram } from '../../tools/programs.ts';
import { TMEM } from '../../tools/server.ts';
import { hasSameContent, MIB, makeImage, workspace } from '../../tools/workspace.ts';
import { contextIn, runImage } from './run-image.ts';

/** Targets of one file and of several. */
const TARGETS = [
  ['new.raw', []],
  ['new.qcow2', []],
  ['new.vmdk', ['-o', 'subformat=twoGbMaxExtentFlat']],
] as const;

test.each(TARGETS)('an interrupted conversion leaves nothing of %s', async (name, options) => {
  const directory = workspace();
  makeImage(directory, 24 * MIB, 'source.raw');
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const context = contextIn(directory);
    let isSeen = false;
    context.stderr = () => {
      isSeen ||= fs.readdirSync(directory).some((file) => file.includes('.partial-'));
      context.signals.emit(signal, signal);
    };
    const args = ['image', 'convert', '--progress=on', '-m', '1', ...options, 'source.raw', name];
    expect(await main(args, context)).toBe(code);
    expect([isSeen, context.out]).toEqual([true, '']);
    expect(fs.readdirSync(directory)).toEqual(['source.raw']);
  }
});

test.each(TARGETS)('no space for %s leaves nothing of it', async (name, options) => {
  const directory = workspace();
  makeImage(directory, 8 * MIB, 'source.raw');
  const args = ['image', 'convert', '--progress=off', ...options, 'source.raw', name];
  const limited = ['--fsize=1048576', process.execPath, TMEM, ...args];
  const ended = await runProgram('prlimit', limited, { directory });
  expect(ended).toMatchObject({ code: 1, stdout: '' });
  expect(ended.stderr).toMatch(
    /^tmem: cannot (write|resize) [^\n]*: EFBIG[^\n]*; raise the limit of file sizes/,
  );
  expect(fs.readdirSync(directory)).toEqual(['source.raw']);
});

test('what is there is not replaced, or only when that is asked for and it is complete', async ({
  skip,
}) => {
  leaveOutWithout(skip, 'qemu-img');
  const directory = workspace();
  const source = makeImage(directory, MIB, 'source.raw');
  const taken = path.join(directory, 'taken.raw');
  fs.writeFileSync(taken, 'dear content');
  const refused = await runImage(directory, 'convert', source, taken);
  expect(refused).toMatchObject({ code: 2, err: expect.stringMatching(/already; .*--force\n$/) });
  expect(fs.readFileSync(taken, 'utf8')).toBe('dear content');
  expect((await runImage(directory, 'convert', '--force', source, taken)).code).toBe(0);
  expect(hasSameContent(source, taken)).toBe(true);
  const itself = await runImage(directory, 'convert', '--force', taken, taken);
  expect(itself).toMatchObject({ code: 2, err: expect.stringContaining(taken) });
  expect(hasSameContent(source, taken)).toBe(true);
  expect(fs.readdirSync(directory).sort()).toEqual(['source.raw', 'taken.raw']);
});

test.each([
  ['a directory', (target: string) => fs.mkdirSync(target)],
  ['a link', (target: string) => fs.symlinkSync('/dev/null', target)],
])('%s is never replaced', async (_what, make) => {
  const directory = workspace();
  make(path.join(directory, 'target.raw'));
  const ran = await runImage(directory, 'create', '--force', 'target.raw', '1M');
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/is no regular file/) });
});

test('a target in no directory is told by that', async () => {
  const ran = await runImage(workspace(), 'create', 'none/target.raw', '1M');
  const sentence = /cannot make ".*none\/target.raw": there is no directory ".*none"; make that/;
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(sentence) });
});

test('a target in a directory that takes no files is not told that there is none', async () => {
  const ran = await runImage(workspace(), 'create', '/proc/target.raw', '1M');
  const sentence = /cannot make "\/proc\/target.raw": .*its directory.*; name another target\n$/;
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(sentence) });
});

test('a target that the source is, or stands on, is told by that, and stays what it was', async () => {
  const directory = workspace();
  const base = makeImage(directory, MIB);
  const before = fs.readFileSync(base);
  await runImage(directory, 'create', '-b', 'disk.raw', 'a.qcow2');
  for (const source of ['disk.raw', 'a.qcow2']) {
    expect(await runImage(directory, 'convert', '--force', source, 'disk.raw')).toMatchObject({
      code: 2,
      err: `tmem: cannot replace "${base}": what is to be written comes from it; name another target\n`,
    });
  }
  expect(fs.readFileSync(base).equals(before)).toBe(true);
});

test('a name that is too long is told by that', async () => {
  for (const name of ['n'.repeat(300), 'n'.repeat(250)]) {
    const ran = await runImage(workspace(), 'create', name, '1M');
    expect(ran).toMatchObject({
      code: 2,
      err: expect.stringMatching(/; give it a shorter name\n$/),
    });
  }
});

test('a file in use is never replaced', async () => {
  const directory = workspace();
  const used = makeImage(directory, MIB, 'used.raw');
  const other = makeImage(directory, MIB, 'other.raw');
  const holder = await runProgram('flock', [
    '--exclusive',
    used,
    process.execPath,
    TMEM,
    ...[...['image', 'convert', '--force', other, used]],
  ]);
  expect(holder).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/cannot lock ".*used.raw"/),
  });
  const storage = await openFileStorage(used, { isReadOnly: true });
  await storage.close();
});

test('a failure of the source leaves nothing, and says where it is', async () => {
  const directory = workspace();
  expect((await runImage(directory, 'create', 'bad.qcow2', '1M')).code).toBe(0);
  const file = path.join(directory, 'bad.qcow2');
  const fd = fs.openSync(file, 'r+');
  // An L1 entry that points behind the end of the file.
  const l1 = Buffer.alloc(8);
  fs.readSync(fd, l1, 0, 8, 40);
  fs.writeSync(fd, Buffer.from('80ffffffffff0000', 'hex'), 0, 8, Number(l1.readBigUInt64BE()));
  fs.closeSync(fd);
  const ran = await runImage(directory, 'convert', 'bad.qcow2', 'new.raw');
  expect(ran.code).toBeGreaterThan(0);
  expect(ran.err).toMatch(/^tmem: [^\n]*bad\.qcow2[^\n]*\n$/);
  expect(fs.readdirSync(directory)).toEqual(['bad.qcow2']);
});
