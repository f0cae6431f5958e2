import { describe, expect, it } from 'vitest';
import { createQcow2, measureQcow2 } from '../../../src/image/qcow2/create/create.ts';
import { measureImage } from '../../../src/imaging/measure.ts';
import { SizingStorage } from '../../../src/imaging/target/sizing-storage.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { MIB } from '../../tools/workspace.ts';

const GIB = 1024 * MIB;
const TIB = 1024 * GIB;

type Settings = Readonly<Record<string, string>>;

const SETTINGS: readonly Settings[] = [
  {},
  { compat: '0.10' },
  { cluster_size: '512' },
  { cluster_size: '4k', refcount_bits: '64' },
  { cluster_size: '2M', refcount_bits: '1' },
  { extended_l2: 'on' },
  { cluster_size: '16k', extended_l2: 'on', refcount_bits: '8' },
  { preallocation: 'metadata' },
  { cluster_size: '1k', preallocation: 'falloc' },
  { preallocation: 'full', lazy_refcounts: 'on' },
  { data_file: 'data', cluster_size: '4k' },
  { data_file: 'data', preallocation: 'full' },
  { data_file: 'data', data_file_raw: 'on' },
  { 'encrypt.format': 'luks', 'encrypt.iter-time': '1', cluster_size: '4k' },
  { 'encrypt.format': 'luks', 'encrypt.iter-time': '1', 'encrypt.cipher-alg': 'aes-128' },
];

const passphraseOf = (settings: Settings) =>
  settings['encrypt.format'] === undefined ? undefined : Buffer.from('secret');

/** Bytes of all files of an image that has all its tables. */
async function madeBytes(sizeBytes: number, settings: Settings): Promise<number> {
  const files = [new SizingStorage('main')];
  const { preallocation = 'metadata' } = settings;
  await createQcow2(files[0] as SizingStorage, {
    ...{ sizeBytes, settings: { ...settings, preallocation }, passphrase: passphraseOf(settings) },
    createFile: async (name) => {
      const file = new SizingStorage(name);
      files.push(file);
      return file;
    },
  });
  return files.reduce((sum, file) => sum + file.sizeBytes, 0);
}

it.each(SETTINGS)('what is measured of qcow2 is what is made: %j', async (settings) => {
  const passphrase = passphraseOf(settings);
  // Where a table or a block of counters begins to be too small, and anywhere.
  const sizes = [0, 512, 4096, 65_536, 65_536 + 512, MIB, 2 * MIB - 512, 2 * MIB, 33 * MIB + 1024];
  for (let index = 0; index < 12; index++) sizes.push(((index * 7_654_321) % 40_000) * 512);
  for (const sizeBytes of passphrase === undefined ? sizes : sizes.slice(0, 9)) {
    const { tableBytes, contentBytes } = measureQcow2({ sizeBytes, settings, passphrase });
    expect(tableBytes + contentBytes, `${sizeBytes} bytes`).toBe(
      await madeBytes(sizeBytes, settings),
    );
  }
});

describe('beside qemu-img', () => {
  needsPrograms('qemu-img');

  /** Where qemu-img counts clusters for content that are in another file. */
  const isNoMeasure = (settings: Settings, sizeBytes: number) =>
    settings.data_file !== undefined && (sizeBytes % MIB !== 0 || sizeBytes > 5 * MIB);

  it.each(SETTINGS.slice(0, -1))('qcow2 is measured as by qemu-img: %j', async (settings) => {
    const passphrase = passphraseOf(settings);
    const options = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    const secret = ['--object', 'secret,id=s,data=secret'];
    if (passphrase !== undefined) options.push('encrypt.key-secret=s');
    const sizes = [512, 512 * 1001, 5 * MIB, GIB + 512, 100 * GIB, 16 * TIB, 64 * TIB];
    let compared = 0;
    // qemu-img tries for seconds how fast it makes keys.
    for (const sizeBytes of passphrase === undefined ? sizes : [100 * GIB + 512]) {
      if (isNoMeasure(settings, sizeBytes)) continue;
      const theirs = runWell('qemu-img', [
        ...['measure', '-O', 'qcow2', '--output=json', ...(passphrase ? secret : [])],
        ...(options.length > 0 ? ['-o', options.join(',')] : []),
        ...['--size', String(sizeBytes)],
      ]).then(
        (text) => JSON.parse(text) as { required: number; 'fully-allocated': number },
        (error: unknown) => String(error),
      );
      const measure = () =>
        measureImage({ formatName: 'qcow2', settings, passphrase, disk: sizeBytes });
      const answer = await theirs;
      if (typeof answer === 'string') {
        expect(answer).toMatch(/too large/);
        await expect(measure()).rejects.toThrow(/does not fit/);
        continue;
      }
      expect(await measure(), `${sizeBytes} bytes`).toEqual({
        requiredBytes: answer.required,
        fullyAllocatedBytes: answer['fully-allocated'],
      });
      compared++;
    }
    expect(compared).toBeGreaterThan(0);
  });
});
