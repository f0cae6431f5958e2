import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FormatDriver } from '../../../src/image/format.ts';
import { qcowDriver } from '../../../src/image/qcow/driver.ts';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { leaveOutWithout, runProgram } from '../../tools/programs.ts';
import { fc } from '../../tools/seed.ts';
import { workspace } from '../../tools/workspace.ts';
import {
  bytesOf,
  checkOf,
  containerOf,
  contentOf,
  createOn,
  emptyContainer,
  openOn,
  saveTo,
} from './images.ts';

const UNIT = 4096;
const SIZE = 1100 * UNIT;

async function made(driver: FormatDriver, settings: Record<string, string>): Promise<Buffer> {
  const container = emptyContainer();
  await createOn(driver, container, SIZE, settings);
  const image = await openOn(driver, container);
  const unit = (fill: number) => Buffer.alloc(UNIT, fill);
  for (let i = 0; i < 12; i++) await image.write(unit(i), 0, UNIT, i * 97 * UNIT);
  if (image.compression !== undefined) await image.writeCompressed(5 * UNIT, unit(99));
  await image.close();
  return bytesOf(container);
}

/** Values that are near to good ones are the most telling. */
const value = fc.oneof(
  fc.nat(40).map((unit) => BigInt(unit * UNIT)),
  fc.nat(40 * UNIT).map(BigInt),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.nat(63).map((bit) => 2n ** BigInt(bit)),
);
/** An entry of some table, or a field of the header. */
const damage = fc.record({ place: fc.nat(2 ** 20), value });

function damaged(
  image: Buffer,
  isBig: boolean,
  damages: { place: number; value: bigint }[],
): Buffer {
  const places: number[] = [8, 16, 24, 32, 40, 48];
  for (let at = 48; at + 8 <= image.length; at += 8) {
    if (image.readBigUInt64LE(at) !== 0n && (at < 4 * UNIT || at % UNIT < 64)) places.push(at);
  }
  const copy = Buffer.from(image);
  for (const { place, value } of damages) {
    const at = places[place % places.length] ?? 0;
    if (isBig) copy.writeBigUInt64BE(value, at);
    else copy.writeBigUInt64LE(value, at);
  }
  return copy;
}

const damages = fc.array(damage, { minLength: 1, maxLength: 3 });

async function orRefused<Value>(work: Promise<Value>): Promise<Value | undefined> {
  try {
    return await work;
  } catch (cause) {
    expect(cause).toBeInstanceOf(TmemError);
    return undefined;
  }
}

describe.each([
  { driver: qedDriver, settings: { cluster_size: '4096', table_size: '1' }, isBig: false },
  { driver: qcowDriver, settings: { cluster_size: '4096' }, isBig: true },
])('a damaged $driver.formatName image', ({ driver, settings, isBig }) => {
  it('is read, written, checked and repaired, or refused; what was repaired is sound', async () => {
    const image = await made(driver, settings);
    await fc.assert(
      fc.asyncProperty(damages, async (what) => {
        const bytes = damaged(image, isBig, what);
        const opened = await orRefused(openOn(driver, containerOf(bytes)));
        if (opened !== undefined) {
          if (opened.virtualSizeBytes <= SIZE) await orRefused(contentOf(opened));
          await orRefused(opened.write(Buffer.alloc(512), 0, 512, 0));
          await orRefused(opened.close());
        }
        const container = containerOf(bytes);
        const repaired = await orRefused(checkOf(driver, container, 'all'));
        if (repaired === undefined || repaired.corruptions > 0) return;
        const again = await checkOf(driver, container);
        expect(again).toMatchObject({ corruptions: 0, leaks: repaired.leaks });
        const sound = await openOn(driver, containerOf(await bytesOf(container), true));
        if (sound.virtualSizeBytes <= SIZE) await orRefused(contentOf(sound));
      }),
      { numRuns: 120 },
    );
  });
});

it('a damaged QED image is corrupt to qemu-img when it is here', async ({ skip }) => {
  leaveOutWithout(skip, 'qemu-img');
  const image = await made(qedDriver, { cluster_size: '4096', table_size: '2' });
  const path = join(workspace(), 'damaged.qed');
  await fc.assert(
    fc.asyncProperty(damages, async (what) => {
      const bytes = damaged(image, false, what);
      image.copy(bytes, 0, 0, 64); // the tables alone
      await saveTo(path, containerOf(bytes));
      const report = await checkOf(qedDriver, containerOf(bytes));
      const { code, stderr } = await runProgram('qemu-img', ['check', '-f', 'qed', path]);
      expect(code === 2, stderr).toBe(report.corruptions > 0);
    }),
    { numRuns: 40 },
  );
});
