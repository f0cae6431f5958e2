import { createCipheriv, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { OpenOptions, WritableFormat } from '../../../src/image/format.ts';
import { mergeStripes, splitIntoStripes } from '../../../src/image/luks/anti-forensic.ts';
import { luksDriver } from '../../../src/image/luks/driver.ts';
import { sectorCipher } from '../../../src/image/luks/sector-cipher.ts';
import { openImage } from '../../../src/image/open.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { makeWithKeySlot, PASSPHRASE, SECRET } from '../../tools/qemu-luks.ts';
import { fc } from '../../tools/seed.ts';
import { MIB, makeImage, workspace } from '../../tools/workspace.ts';

async function openContainer(file: string, isReadOnly = false) {
  const options = { isReadOnly, isContainer: true, wantsDirect: false };
  const storage = await openFileStorage(file, options);
  onTestFinished(() => storage.close());
  return storage;
}

function optionsWith(passphrase: string | undefined): OpenOptions {
  return {
    isReadOnly: false,
    tableBytesMax: 1 << 20,
    openFile: () => Promise.reject(new Error('a LUKS image names no file')),
    passphrase: passphrase === undefined ? undefined : Buffer.from(passphrase),
  };
}

async function openLuksFile(file: string, passphrase: string | undefined = PASSPHRASE) {
  const opened = await luksDriver.open(await openContainer(file), optionsWith(passphrase));
  return opened.format as WritableFormat;
}

async function readAll(format: WritableFormat): Promise<Buffer> {
  const length = format.virtualSizeBytes;
  const buffer = Buffer.alloc(length);
  const run = await format.map(0, length);
  if (run.kind !== 'data') throw new Error('not data');
  await run.storage.read(buffer, 0, length, run.storageOffset);
  run.cipher?.decrypt(buffer, 0, length, run.storageOffset, 0);
  return buffer;
}

async function writeAll(format: WritableFormat, content: Buffer): Promise<void> {
  const target = await format.allocate(0, content.length);
  const copy = Buffer.from(content);
  target.cipher?.encrypt(copy, 0, copy.length, target.storageOffset, 0);
  await target.storage.write(copy, 0, copy.length, target.storageOffset);
}

const create = (file: string, sizeBytes: number, passphrase = PASSPHRASE) =>
  openContainer(file).then((storage) =>
    luksDriver.create?.(storage, {
      sizeBytes,
      settings: {},
      createFile: () => Promise.reject(new Error('a LUKS image is one file')),
      passphrase: Buffer.from(passphrase),
    }),
  );

describe('a LUKS image of qemu-img', () => {
  needsPrograms('qemu-img');

  it.each([
    ['the default', ''],
    ['xts of 128 bits with sha1', ',cipher-alg=aes-128,hash-alg=sha1'],
    ['xts of 192 bits', ',cipher-alg=aes-192'],
    ['cbc with essiv', ',cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256'],
    ['cbc with plain64 and sha512', ',cipher-mode=cbc,ivgen-alg=plain64,hash-alg=sha512'],
    ['xts with plain', ',ivgen-alg=plain'],
  ])('reads as what was put in it: %s', async (_name, settings) => {
    const directory = workspace();
    const raw = makeImage(directory, MIB);
    const file = path.join(directory, 'disk.luks');
    const wish = `key-secret=key,iter-time=10${settings}`;
    await makeWithKeySlot(['convert', ...SECRET, '-O', 'luks', '-o', wish, raw, file]);
    const format = await openLuksFile(file);
    expect(format.virtualSizeBytes).toBe(MIB);
    expect((await readAll(format)).equals(fs.readFileSync(raw))).toBe(true);
  });
});

describe('a LUKS image of ours', () => {
  needsPrograms('qemu-img');

  it('reads in qemu-img as what was written to it', async () => {
    const directory = workspace();
    const raw = makeImage(directory, MIB);
    const file = path.join(directory, 'disk.luks');
    fs.writeFileSync(file, '');
    await create(file, MIB);
    await writeAll(await openLuksFile(file), fs.readFileSync(raw));
    const images = ['--image-opts', `driver=luks,key-secret=key,file.filename=${file}`];
    await runWell('qemu-img', [
      ...['compare', ...SECRET, ...images],
      `driver=raw,file.filename=${raw}`,
    ]);
  });

  it('reads as zeros where it has grown', async () => {
    const made = path.join(workspace(), 'made.luks');
    fs.writeFileSync(made, '');
    await create(made, MIB);
    // What made it has it open until the test ends.
    const file = path.join(path.dirname(made), 'disk.luks');
    fs.copyFileSync(made, file);
    const options = { isReadOnly: false, passphrase: Buffer.from(PASSPHRASE) };
    const image = await openImage(file, { ...options, formatName: 'luks' });
    onTestFinished(() => image.close());
    const content = Buffer.alloc(3 * MIB);
    content.fill(7, 0, MIB);
    await image.write(content, 0, MIB, 0);
    await image.resize(3 * MIB);
    const read = Buffer.alloc(3 * MIB, 1);
    await image.read(read, 0, 3 * MIB, 0);
    expect(read.equals(content)).toBe(true);
  });

  it('is refused without its passphrase, and with another', async () => {
    const file = path.join(workspace(), 'disk.luks');
    fs.writeFileSync(file, '');
    await create(file, 4096);
    await expect(openLuksFile(file, 'another')).rejects.toThrow(/opens no key slot/);
    const storage = await openContainer(file);
    await expect(luksDriver.open(storage, optionsWith(undefined))).rejects.toMatchObject({
      kind: 'permission',
    });
    expect(await luksDriver.info(storage)).toMatchObject({
      virtualSizeBytes: 4096,
      isEncrypted: true,
      details: { cipher: 'aes-xts-plain64', keySlots: 1 },
    });
  });

  it('is refused when a number in its header is not what any writer writes', async () => {
    const file = path.join(workspace(), 'disk.luks');
    fs.writeFileSync(file, '');
    await create(file, 4096);
    const good = fs.readFileSync(file);
    for (const [field, value] of [
      [108, 0x7fffffff], // bytes of key
      [164, 0xffffffff], // iterations of the digest
      [208, 1], // the state of the first slot
      [212, 0xffffffff], // its iterations
      [248, 0xfffffff0], // where its key material is
      [252, 0xffffffff], // its stripes
      [104, 0xffffff], // where the payload begins
    ] as const) {
      const bad = Buffer.from(good);
      bad.writeUInt32BE(value, field);
      fs.writeFileSync(file, bad);
      await expect(openLuksFile(file), `field ${field}`).rejects.toMatchObject({ kind: 'invalid' });
    }
  });
});

it('a LUKS image whose payload would lie over its header or its keys is refused', async () => {
  const file = path.join(workspace(), 'disk.luks');
  fs.writeFileSync(file, '');
  await create(file, 4096);
  const good = fs.readFileSync(file);
  const keysEnd = (4096 + 64 * 4000) / 512;
  for (const sector of [0, 1, 8, keysEnd - 1]) {
    const bad = Buffer.from(good);
    bad.writeUInt32BE(sector, 104);
    fs.writeFileSync(file, bad);
    const refused = { kind: 'unsupported', message: expect.stringMatching(/kept apart/) };
    await expect(openLuksFile(file), `sector ${sector}`).rejects.toMatchObject(refused);
    await expect(luksDriver.info(await openContainer(file))).rejects.toMatchObject(refused);
  }
  good.writeUInt32BE(keysEnd, 104);
  fs.writeFileSync(file, good);
  const payloadOffset = keysEnd * 512;
  expect(await luksDriver.info(await openContainer(file))).toMatchObject({
    details: { payloadOffset },
  });
});

it('a LUKS header that wants too much work is refused before it is done', async () => {
  const file = path.join(workspace(), 'disk.luks');
  fs.writeFileSync(file, '');
  await create(file, 4096);
  const good = fs.readFileSync(file);
  good.copy(good, 256, 208, 256); // the second slot is as the first
  const first = 212;
  const second = 260;
  const digest = 164;
  for (const fields of [
    [[first, 2 ** 26]],
    [
      [first, 1000],
      [second, 2 ** 25 - 1000],
    ],
    [[digest, 2 ** 27]],
  ] as const) {
    const bad = Buffer.from(good);
    for (const [at, count] of fields) bad.writeUInt32BE(count, at);
    fs.writeFileSync(file, bad);
    const refused = { kind: 'unsupported', message: expect.stringMatching(/wants \d+ iterations/) };
    await expect(openLuksFile(file), `${fields}`).rejects.toMatchObject(refused);
  }
});

describe('the sector cipher', () => {
  it('agrees with a cipher object of OpenSSL for each sector', () => {
    const key = randomBytes(64);
    const cipher = sectorCipher({
      mode: 'xts',
      vector: { name: 'plain64' },
      key,
      counts: 'storage',
    });
    const sectors = fc.nat({ max: 300 }).map((count) => count + 1);
    const first = fc.maxSafeNat().map((sector) => sector % 2 ** 43);
    fc.assert(
      fc.property(sectors, first, fc.nat({ max: 7 }), (count, sector, skew) => {
        const plain = randomBytes(count * 512);
        const buffer = Buffer.alloc(plain.length + skew);
        plain.copy(buffer, skew);
        cipher.encrypt(buffer, skew, plain.length, sector * 512, 0);
        for (const index of [0, count >> 1, count - 1]) {
          const vector = Buffer.alloc(16);
          vector.writeBigUInt64LE(BigInt(sector + index));
          const one = createCipheriv('aes-256-xts', key, vector);
          const expected = one.update(plain.subarray(index * 512, (index + 1) * 512));
          const at = skew + index * 512;
          expect(buffer.subarray(at, at + 512).equals(expected)).toBe(true);
        }
        cipher.decrypt(buffer, skew, plain.length, sector * 512, 0);
        expect(buffer.subarray(skew).equals(plain)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it('of each kind undoes what it did', () => {
    for (const mode of ['cbc', 'xts'] as const) {
      for (const counts of ['storage', 'guest'] as const) {
        const vector =
          mode === 'cbc'
            ? ({ name: 'essiv', hash: 'sha256' } as const)
            : ({ name: 'plain' } as const);
        const cipher = sectorCipher({ mode, vector, key: randomBytes(32), counts });
        const plain = randomBytes(129 * 512);
        const buffer = Buffer.from(plain);
        cipher.encrypt(buffer, 0, buffer.length, 1024, 2048);
        expect(buffer.equals(plain)).toBe(false);
        cipher.decrypt(buffer, 512, buffer.length - 512, 1536, 2560);
        expect(buffer.subarray(512).equals(plain.subarray(512))).toBe(true);
      }
    }
  });
});

describe('the anti-forensic splitter', () => {
  it('gives a key back, and another when any byte is lost', () => {
    const key = randomBytes(64);
    const stripes = splitIntoStripes(key, 4000, 'sha256');
    expect(mergeStripes(stripes, 64, 'sha256')).toEqual(key);
    stripes[123_456]! ^= 1;
    expect(mergeStripes(stripes, 64, 'sha256')).not.toEqual(key);
  });
});
