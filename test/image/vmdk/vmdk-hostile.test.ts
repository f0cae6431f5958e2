import { describe, expect, it } from 'vitest';
import { TmemError } from '../../../src/lib/errors.ts';
import { checkSmall, memoryOf, openSmall, SECTOR, smallImage } from './hand-made.ts';

const OPTIONS = { capacitySectors: 64 * 8, hasTables: true };

/** Puts a number of 64 bits where the header has one. */
const big =
  (offset: number, value: bigint) =>
  (bytes: Buffer): void => {
    bytes.writeBigUInt64LE(value, offset);
  };

const small =
  (offset: number, value: number) =>
  (bytes: Buffer): void => {
    bytes.writeUInt32LE(value, offset);
  };

const HEADERS: [string, (bytes: Buffer) => void, RegExp][] = [
  ['version 0', small(4, 0), /at offset 4, it is VMDK of version 0/],
  ['version 4', small(4, 4), /version 4/],
  ['grains of no sectors', big(20, 0n), /at offset 20, a grain of 0 sectors/],
  ['grains of three sectors', big(20, 24n), /a grain of 24 sectors/],
  ['grains of 2 GiB', big(20, 2n ** 22n), /a grain of 4194304 sectors/],
  ['tables of no entries', small(44, 0), /at offset 44, 0 entries/],
  ['tables of too many entries', small(44, 513), /513 entries/],
  ['no capacity', big(12, 0n), /it holds no sectors, and a descriptor in it may not lead/],
  ['a capacity without end', big(12, 2n ** 63n), /at offset 12, 9223372036854775808 sectors/],
  ['too many tables', big(12, 2n ** 43n), /need 137438953472 grain tables/],
  ['a directory behind the end', big(56, 1n << 40n), /grain directory of 32 bytes is not inside/],
  ['a copy of the directory behind the end', big(48, 1n << 40n), /redundant directory/],
  ['a footer that is not there', big(56, 2n ** 64n - 1n), /not written to its end/],
  ['changed line ends', small(73, 0x0a0a_0a0a), /line ends were changed/],
  ['an unknown compression', small(77, 7), /unknown number 7/],
  ['a descriptor behind the end', big(28, 1n << 30n), /the descriptor of 1024 bytes ends behind/],
  ['a descriptor of 1 GiB', big(36, 1n << 21n), /is longer than 1 MiB/],
  ['no descriptor', big(28, 0n), /one extent of an image, without the descriptor/],
];

describe('a header is refused with one sentence when it says', () => {
  it.each(HEADERS)('%s', async (_name, damage, message) => {
    const bytes = smallImage(OPTIONS);
    damage(bytes);
    const opening = openSmall(memoryOf(bytes, true));
    await expect(opening).rejects.toThrow(message);
    await expect(opening).rejects.toBeInstanceOf(TmemError);
    await expect(opening).rejects.toThrow(/^[^\n]*"small\.vmdk"[^\n]*; [^\n]*[^.\n]$/);
  });
});

const DIRECTORY = 3 * SECTOR;
const COPIES = 4 * SECTOR;

describe('tables that cannot be', () => {
  it.each([
    ['a table over its copy', small(DIRECTORY, 13), /a grain table lies over another one/],
    ['a table over the header', small(DIRECTORY, 0x7fff_ffff), /not inside the file/],
    ['a copy over the directory', small(COPIES, 3), /a grain table lies over the grain directory/],
    [
      'a directory over the descriptor',
      big(56, 2n),
      /the grain directory lies over the descriptor/,
    ],
  ])('are never written: %s', async (_name, damage, message) => {
    const bytes = smallImage(OPTIONS);
    damage(bytes);
    await expect(openSmall(memoryOf(bytes))).rejects.toThrow(message);
  });

  it('fail the reads that need them alone', async () => {
    const bytes = smallImage(OPTIONS);
    small(DIRECTORY, 0x7fff_ffff)(bytes);
    const table = bytes.readUInt32LE(DIRECTORY + 4) * SECTOR;
    small(table, 1)(bytes);
    small(table + 4, 0x00ff_ffff)(bytes);
    small(table + 8, 2)(bytes);
    const image = await openSmall(memoryOf(bytes, true));
    const grain = 8 * SECTOR;
    const read = (index: number) => image.read(Buffer.alloc(SECTOR), 0, SECTOR, index * grain);
    await expect(read(0)).rejects.toThrow(/a grain table at sector 2147483647 is not in this file/);
    await expect(read(8)).rejects.toThrow(/marked as zeros, but the header allows no such/);
    await expect(read(9)).rejects.toThrow(/a grain at sector 16777215 cannot be in this file/);
    await expect(read(10)).rejects.toThrow(/a grain at sector 2 cannot be/);
    await expect(read(11)).resolves.toBeUndefined();
    expect((await checkSmall(bytes)).corruptions).toBe(4);
  });
});

it('an image of tracked changes, or with unknown flags, is not written', async () => {
  for (const [damage, message] of [
    [small(4, 3), /changes are tracked/],
    [small(8, 1 | 2 | 0x100), /unknown flags, 0x100 at offset 8/],
  ] as const) {
    const bytes = smallImage(OPTIONS);
    damage(bytes);
    await expect(openSmall(memoryOf(Buffer.from(bytes)))).rejects.toThrow(message);
    await expect(openSmall(memoryOf(bytes, true))).resolves.toBeDefined();
  }
});

it('damage anywhere in the tables ends in a verdict, and never in another error', async () => {
  const good = smallImage({ ...OPTIONS, hasZeroes: true });
  let refused = 0;
  for (let at = 0; at < good.length; at += 1) {
    // The header byte by byte, then the tables at every entry.
    if (at >= 80 && (at < DIRECTORY || at % 36 !== 0)) continue;
    for (const value of [0, 1, 0xff]) {
      const bytes = Buffer.from(good);
      if (bytes[at] === value) continue;
      bytes[at] = value;
      try {
        await checkSmall(bytes);
        const image = await openSmall(memoryOf(bytes));
        await image.write(Buffer.alloc(4096, 1), 0, Math.min(4096, image.virtualSizeBytes), 0);
        await image.sync();
      } catch (cause) {
        expect(cause).toBeInstanceOf(TmemError);
        refused++;
      }
    }
  }
  expect(refused).toBeGreaterThan(50);
});
