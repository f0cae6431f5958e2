import fs, { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it, vi } from 'vitest';
import { openImage } from '../../../src/image/open.ts';
import { vmdkDriver } from '../../../src/image/vmdk/driver.ts';
import { checkImage } from '../../../src/imaging/check.ts';
import { commitImage } from '../../../src/imaging/commit.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { MIB, workspace } from '../../tools/workspace.ts';
import { expectSame } from '../appended/image-model.ts';
import {
  checkFile,
  createVmdkFile,
  infoOf,
  qemuCheck,
  qemuContentOf,
  qemuIo,
  sampleBytes,
} from './vmdk-files.ts';

needsPrograms('qemu-img', 'qemu-io');

function cidOf(file: string): string {
  return /^CID=([0-9a-f]+)$/m.exec(readFileSync(file, 'latin1'))?.[1] ?? '';
}

async function contentThrough(file: string): Promise<Buffer> {
  const image = await openImage(file, { isReadOnly: true });
  const content = Buffer.alloc(image.virtualSizeBytes);
  await image.read(content, 0, content.length, 0);
  await image.close();
  return content;
}

/** A base of 10 MiB, by qemu, and the name for an image on it. */
async function base() {
  const folder = workspace();
  const parent = path.join(folder, 'base.vmdk');
  await runWell('qemu-img', ['create', '-f', 'vmdk', parent, '10M']);
  await qemuIo(parent, 'write -P 1 0 3M', 'write -P 2 9M 1M');
  return { parent, child: path.join(folder, 'child.vmdk') };
}

it.each(['off', 'on'])('an image on a parent goes both ways, zeroed_grain=%s', async (zeroes) => {
  const { parent, child } = await base();
  const { details } = await infoOf(parent);
  const parentCid = Number.parseInt(String(details.cid), 16);
  const reference = { name: 'base.vmdk', formatName: 'vmdk' as const, parentCid };
  const backing = { role: 'parent' as const, ...reference };
  await createVmdkFile(child, 10 * MIB, { zeroed_grain: zeroes }, { backing });
  const content = await qemuContentOf(parent);
  expectSame(await contentThrough(child), content);

  const image = await openImage(child, { isReadOnly: false });
  const bytes = sampleBytes(200_000);
  await image.write(bytes, 0, bytes.length, MIB + 1000);
  bytes.copy(content, MIB + 1000);
  await image.writeZeroes(2 * MIB, 300_000, true);
  content.fill(0, 2 * MIB, 2 * MIB + 300_000);
  await image.discard(9 * MIB, MIB);
  if (zeroes === 'on') {
    const read = Buffer.alloc(512, 9);
    await image.read(read, 0, 512, 9 * MIB + 512);
    expect([0, 2]).toContain(read[0]);
    await image.writeZeroes(9 * MIB, MIB, true);
    content.fill(0, 9 * MIB);
  }
  await image.sync();
  await image.close();
  expectSame(await qemuContentOf(child), content);
  expectSame(await contentThrough(child), content);
  expect(await qemuCheck(child)).toBe(0);
  expect(await checkFile(child)).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
});

it('an image on a parent that qemu made is read and written by us', async () => {
  const { parent, child } = await base();
  await runWell('qemu-img', ['create', '-f', 'vmdk', '-b', 'base.vmdk', '-F', 'vmdk', child], {
    directory: path.dirname(parent),
  });
  await qemuIo(child, 'write -P 3 1M 5k');
  const image = await openImage(child, { isReadOnly: false });
  await image.write(Buffer.alloc(1024, 4), 0, 1024, MIB + 1024);
  await image.sync();
  await image.close();
  await qemuIo(child, 'read -P 3 1M 1k', `read -P 4 ${MIB + 1024} 1k`, 'read -P 1 2M 1M');
  expectSame(await contentThrough(child), await qemuContentOf(child));
});

it('a parent that was written since is refused, and found by the check', async () => {
  const { parent, child } = await base();
  await runWell('qemu-img', ['create', '-f', 'vmdk', '-b', 'base.vmdk', '-F', 'vmdk', child], {
    directory: path.dirname(parent),
  });
  const image = await openImage(parent, { isReadOnly: false });
  await image.write(Buffer.alloc(512, 9), 0, 512, 0);
  await image.close();
  await expect(openImage(child, { isReadOnly: true })).rejects.toThrow(/made on a parent of CID/);
  expect(await checkFile(child)).toMatchObject({ corruptions: 1 });
});

it('the content identifier changes with the first write of each opening, once', async () => {
  const { parent } = await base();
  const seen = [cidOf(parent)];
  for (let opening = 0; opening < 2; opening++) {
    const image = await openImage(parent, { isReadOnly: false });
    expect(cidOf(parent)).toBe(seen.at(-1));
    await image.write(Buffer.alloc(512), 0, 512, 0);
    seen.push(cidOf(parent));
    await image.write(Buffer.alloc(512), 0, 512, 512);
    await image.sync();
    expect(cidOf(parent)).toBe(seen.at(-1));
    await image.close();
  }
  expect(new Set(seen).size).toBe(3);
});

it.each(['monolithicSparse', 'twoGbMaxExtentSparse'])(
  'an image of %s is put on the new content of its parent, and on another',
  async (subformat) => {
    const { parent, child } = await base();
    const folder = path.dirname(parent);
    const over = ['-o', `subformat=${subformat}`, '-b', 'base.vmdk', '-F', 'vmdk', child];
    await runWell('qemu-img', ['create', '-f', 'vmdk', ...over], { directory: folder });
    await qemuIo(child, 'write -P 3 1M 5k');
    await qemuIo(parent, 'write -P 9 2M 64k');
    const before = readFileSync(child, 'latin1');
    const standOn = async (name: string) => {
      const cid = Number.parseInt(cidOf(path.join(folder, name)), 16);
      const reference = { role: 'parent', name, formatName: 'vmdk', parentCid: cid } as const;
      const storage = await openFileStorage(child, { isReadOnly: false, isContainer: true });
      await vmdkDriver.rebase?.(storage, reference).finally(() => storage.close());
    };
    await standOn('base.vmdk');
    expectSame(await contentThrough(child), await qemuContentOf(child));
    const other = path.join(folder, 'the other base.vmdk');
    await runWell('qemu-img', ['convert', '-O', 'vmdk', parent, other]);
    await standOn('the other base.vmdk');
    await qemuIo(child, 'read -P 3 1M 5k', 'read -P 9 2M 64k', 'read -P 2 9M 1M');
    expectSame(await contentThrough(child), await qemuContentOf(child));
    expect((await infoOf(child)).backing?.name).toBe('the other base.vmdk');
    const ownLines = (text: string) =>
      text.split('\n').filter((line) => /^(CID|RW|ddb)/.test(line));
    expect(ownLines(readFileSync(child, 'latin1'))).toEqual(ownLines(before));
  },
);

it('an image that is closed without a sync keeps what was written', async () => {
  const { parent } = await base();
  const content = await qemuContentOf(parent);
  const image = await openImage(parent, { isReadOnly: false });
  const bytes = sampleBytes(200_000);
  await image.write(bytes, 0, bytes.length, 5 * MIB + 1000);
  bytes.copy(content, 5 * MIB + 1000);
  await image.close();
  expectSame(await qemuContentOf(parent), content);
  expect(await qemuCheck(parent)).toBe(0);
});

it('an image that is committed to its parent still fits on it', async () => {
  const { parent, child } = await base();
  const over = ['create', '-f', 'vmdk', '-b', 'base.vmdk', '-F', 'vmdk', child];
  await runWell('qemu-img', over, { directory: path.dirname(parent) });
  await qemuIo(child, 'write -P 3 1M 5k', 'write -P 4 5M 64k');
  const content = await qemuContentOf(child);
  expect(await commitImage({ path: child })).toMatchObject({ basePath: parent });
  expectSame(await contentThrough(child), content);
  expectSame(await qemuContentOf(child), content);
  expectSame(await qemuContentOf(parent), content);
});

it('an image whose parent fails to take all of it still fits on what that became', async () => {
  const { parent, child } = await base();
  const over = ['create', '-f', 'vmdk', '-b', 'base.vmdk', '-F', 'vmdk', child];
  await runWell('qemu-img', over, { directory: path.dirname(parent) });
  await qemuIo(child, 'write -P 3 1M 5k', 'write -P 4 5M 64k');
  const [content, idBefore] = [await qemuContentOf(child), cidOf(parent)];
  const sync = fs.fdatasync;
  vi.spyOn(fs, 'fdatasync').mockImplementation((fd, callback) => {
    const isLate = fs.readlinkSync(`/proc/self/fd/${fd}`) === parent && cidOf(parent) !== idBefore;
    if (!isLate) return sync(fd, callback);
    setImmediate(callback, Object.assign(new Error('EIO: injected'), { code: 'EIO' }));
  });
  await expect(commitImage({ path: child })).rejects.toThrow(/EIO: injected/);
  vi.restoreAllMocks();
  expect(cidOf(parent)).not.toBe(idBefore);
  expectSame(await qemuContentOf(child), content);
});

it('names of extents and parents go through the gate', async () => {
  const folder = workspace();
  const file = path.join(folder, 'evil.vmdk');
  const text = (line: string) =>
    `# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="vmfs"\n${line}\n`;
  const names = ['/etc/hostname', '../x', 'nbd://x/y', 'json:{}', 'evil.vmdk', '/dev/null'];
  for (const name of names) {
    writeFileSync(file, text(`RW 8 FLAT "${name}" 0`));
    await expect(openImage(file, { isReadOnly: true }), name).rejects.toThrow(/names the extent/);
    expect((await infoOf(file)).references).toEqual([
      { role: 'extent', name, formatName: undefined },
    ]);
  }
});

it('an image is repaired while its parent is open for reading', async () => {
  const { parent, child } = await base();
  const backing = ['-b', 'base.vmdk', '-F', 'vmdk'];
  await runWell('qemu-img', ['create', '-q', '-f', 'vmdk', ...backing, child]);
  const golden = await openImage(parent, { isReadOnly: true });
  const report = await checkImage(child, { repair: 'all' });
  expect(report).toMatchObject({ corruptions: 0, leaks: 0, errors: 0, findings: [] });
  await golden.close();
});
