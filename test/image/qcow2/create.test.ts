import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CreateOptions } from '../../../src/image/format.ts';
import { createQcow2 } from '../../../src/image/qcow2/create/create.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import type { ResizableStorage } from '../../../src/storage/storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { PASSPHRASE, SECRET } from '../../tools/qemu-luks.ts';
import { MIB, workspace } from '../../tools/workspace.ts';

const GIB = 1024 * MIB;
const TIB = 1024 * GIB;

/** Makes the image; afterwards its files are free for others. */
async function create(file: string, sizeBytes: number, options: Partial<CreateOptions> = {}) {
  const storages: ResizableStorage[] = [];
  const newFile = async (name: string) => {
    fs.writeFileSync(name, '');
    const how = { isReadOnly: false, isContainer: true, wantsDirect: false };
    const storage = await openFileStorage(name, how);
    storages.push(storage);
    return storage;
  };
  try {
    await createQcow2(await newFile(file), {
      sizeBytes,
      settings: {},
      createFile: (name) => newFile(path.join(path.dirname(file), name)),
      ...options,
    });
  } finally {
    for (const storage of storages) await storage.close();
  }
}

async function infoOf(file: string) {
  return JSON.parse(await runWell('qemu-img', ['info', '--output=json', '-f', 'qcow2', file]));
}

const check = (file: string) => runWell('qemu-img', ['check', '-q', '-f', 'qcow2', file]);

describe('a new qcow2 image', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it.each([
    ['the default', 10 * MIB, {}],
    ['version 2', 10 * MIB, { compat: '0.10' }],
    ['of no size', 0, {}],
    ['of one sector', 512, {}],
    ['of one terabyte', TIB, {}],
    ['of the smallest clusters', GIB, { cluster_size: '512' }],
    ['of the largest clusters', TIB, { cluster_size: '2MiB' }],
    ['with subclusters', 10 * MIB, { extended_l2: 'on', cluster_size: '128K' }],
    ['with lazy refcounts', 10 * MIB, { lazy_refcounts: 'on' }],
    ['compressing with zstd', 10 * MIB, { compression_type: 'zstd' }],
    ...['1', '2', '4', '8', '16', '32', '64'].map(
      (bits) => [`with refcounts of ${bits} bits`, 10 * MIB, { refcount_bits: bits }] as const,
    ),
  ] as const)('is clean, and what was asked for: %s', async (_name, sizeBytes, settings) => {
    const file = path.join(workspace(), 'disk.qcow2');
    await create(file, sizeBytes, { settings });
    await check(file);
    const wish: Record<string, string> = settings;
    const clusterBytes: Record<string, number> = { 512: 512, '2MiB': 2 * MIB, '128K': 131_072 };
    const isOld = wish.compat === '0.10';
    expect(await infoOf(file)).toMatchObject({
      'virtual-size': sizeBytes,
      'cluster-size': clusterBytes[wish.cluster_size ?? ''] ?? 65_536,
      'format-specific': {
        data: {
          compat: isOld ? '0.10' : '1.1',
          'refcount-bits': Number(wish.refcount_bits ?? 16),
          'compression-type': wish.compression_type ?? 'zlib',
          ...(isOld ? {} : { 'lazy-refcounts': wish.lazy_refcounts === 'on', corrupt: false }),
          ...(isOld ? {} : { 'extended-l2': wish.extended_l2 === 'on' }),
        },
      },
    });
  });

  it.each([
    ['metadata', {}],
    ['metadata', { cluster_size: '512', refcount_bits: '1' }],
    ['metadata', { cluster_size: '4096', refcount_bits: '64' }],
    ['metadata', { extended_l2: 'on' }],
    ['falloc', { compat: '0.10' }],
    ['full', { cluster_size: '2MiB', refcount_bits: '2' }],
  ])('with preallocation=%s and %o maps all of the disk', async (preallocation, settings) => {
    const file = path.join(workspace(), 'disk.qcow2');
    const sizeBytes = 7 * MIB + 512;
    await create(file, sizeBytes, { settings: { ...settings, preallocation } });
    await check(file);
    const report = await runWell('qemu-img', ['check', '--output=json', file]);
    const { 'cluster-size': clusterBytes } = await infoOf(file);
    expect(JSON.parse(report)).toMatchObject({
      'allocated-clusters': Math.ceil(sizeBytes / clusterBytes),
      'image-end-offset': fs.statSync(file).size,
    });
    await runWell('qemu-io', ['-f', 'qcow2', '-c', `read -P 0 0 ${sizeBytes}`, file]);
    const isThere = preallocation !== 'metadata';
    expect(fs.statSync(file).blocks * 512 > sizeBytes).toBe(isThere);
  });

  it('is amended by qemu-img: other refcounts, another version', async () => {
    const file = path.join(workspace(), 'disk.qcow2');
    await create(file, 4 * MIB, { settings: { preallocation: 'metadata' } });
    for (const wish of ['refcount_bits=64', 'refcount_bits=16', 'compat=0.10', 'compat=1.1']) {
      await runWell('qemu-img', ['amend', '-q', '-f', 'qcow2', '-o', wish, file]);
      await check(file);
    }
  });

  it('names its backing file and the format of that', async () => {
    const directory = workspace();
    const base = path.join(directory, 'base.raw');
    fs.writeFileSync(base, 'base'.repeat(1024));
    for (const settings of [{}, { extended_l2: 'on', preallocation: 'metadata' }]) {
      const file = path.join(directory, 'disk.qcow2');
      const backing = { role: 'backing file', name: 'base.raw', formatName: 'raw' } as const;
      await create(file, MIB, { settings, backing });
      await check(file);
      const facts = { 'backing-filename': 'base.raw', 'backing-filename-format': 'raw' };
      expect(await infoOf(file)).toMatchObject(facts);
      await runWell('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', file, base]);
    }
  });

  it.each(['off', 'on'])('with a data file, raw %s, is clean', async (raw) => {
    const directory = workspace();
    const file = path.join(directory, 'disk.qcow2');
    const settings = { data_file: 'disk.data', data_file_raw: raw };
    await create(file, MIB, { settings });
    // qemu looks for data files where it is started, not beside the image.
    const check = () => runWell('qemu-img', ['check', '-q', file], { directory });
    await check();
    await runWell('qemu-io', ['-c', 'write -P 7 64k 64k', file], { directory });
    await check();
    const data = fs.readFileSync(path.join(directory, 'disk.data'));
    expect(data.length).toBe(MIB);
    expect(data[65_536]).toBe(7);
  });

  it.each(['', 'aes-128'])('enciphered with LUKS %s is written by qemu-io', async (cipher) => {
    const file = path.join(workspace(), 'disk.qcow2');
    const settings = {
      'encrypt.format': 'luks',
      'encrypt.iter-time': '1',
      ...(cipher === '' ? {} : { 'encrypt.cipher-alg': cipher }),
    };
    await create(file, MIB, { settings, passphrase: Buffer.from(PASSPHRASE) });
    const image = `driver=qcow2,encrypt.key-secret=key,file.filename=${file}`;
    const commands = ['-c', 'write -P 7 0 128k', '-c', 'read -P 7 0 128k'];
    await runWell('qemu-io', [...SECRET, ...commands, '--image-opts', image]);
    await runWell('qemu-img', ['check', '-q', ...SECRET, '--image-opts', image]);
  });
});

describe('a qcow2 image that cannot be', () => {
  const backing = { role: 'backing file', name: 'base', formatName: 'raw' } as const;

  it.each([
    [{ settings: { colour: 'red' } }, /has no setting "colour"; it has compat, cluster_size/],
    [{ settings: { compat: '1.0' } }, /it is one of 1.1, 0.10/],
    [{ settings: { cluster_size: '65535' } }, /power of two from 512 to 2097152/],
    [{ settings: { cluster_size: 'x' } }, /power of two from 512 to 2097152/],
    [{ settings: { refcount_bits: '128' } }, /power of two from 1 to 64/],
    [{ settings: { compat: '0.10', lazy_refcounts: 'on' } }, /needs compat=1.1/],
    [{ settings: { extended_l2: 'on', cluster_size: '8K' } }, /16KiB at least/],
    [{ settings: { compression_type: 'lz4' } }, /one of zlib, zstd/],
    [{ settings: { preallocation: 'metadata' }, backing }, /preallocation=off/],
    [{ settings: { data_file_raw: 'on' } }, /needs data_file/],
    [{ settings: { data_file: 'd', data_file_raw: 'on' }, backing }, /drop one/],
    [{ settings: {}, backing: { ...backing, formatName: undefined } }, /say which it is/],
    [
      { settings: { 'encrypt.format': 'luks' } },
      /needs a passphrase; give it with --passphrase-file/,
    ],
    [{ settings: { 'encrypt.format': 'aes' } }, /one of luks/],
    [{ settings: { 'encrypt.hash-alg': 'sha1' } }, /encrypt.format=luks/],
    [{ settings: {}, passphrase: Buffer.from('x') }, /of no use/],
    [{ settings: { cluster_size: '512' }, sizeBytes: 2 ** 42 }, /use a larger cluster_size/],
    [{ settings: {}, sizeBytes: -1 }, /a whole number from 0 on/],
  ])('is refused as a usage error: %o', async (wish, message) => {
    const storage = new MemoryStorage(Buffer.alloc(0), { isContainer: true });
    const createFile = () => Promise.reject(new Error('no file is made for a refused image'));
    const made = createQcow2(storage, { sizeBytes: MIB, createFile, ...wish });
    await expect(made).rejects.toMatchObject({
      kind: 'usage',
      message: expect.stringMatching(message),
    });
    expect(storage.sizeBytes).toBe(0);
  });
});
