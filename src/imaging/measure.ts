/** How large the files of an image would be before it is made. */

import { type FormatName, type PlannedSize, SECTOR_BYTES } from '../image/format.ts';
import { driverOf } from '../image/formats.ts';
import type { BlockImage } from '../image/image.ts';
import { TmemError } from '../lib/errors.ts';
import { roundUp } from '../lib/round-up.ts';
import { Breath } from './breath.ts';
import type { WorkOptions } from './progress.ts';
import { SizingStorage } from './target/sizing-storage.ts';

export interface MeasureOptions extends WorkOptions {
  readonly formatName: FormatName;
  readonly settings?: Readonly<Record<string, string>> | undefined;
  readonly passphrase?: Buffer | undefined;
  /** What would be converted, the caller's; or the size of an empty disk. */
  readonly disk: BlockImage | number;
}

export interface Measure {
  /** At most that, bytes: zeros that nothing tells of without reading count as content. */
  readonly requiredBytes: number;
  /** When all of the disk has been written. */
  readonly fullyAllocatedBytes: number;
}

/** An image that was made, if only for its size. */
interface Mock {
  readonly fileBytes: number;
  /** What content takes besides: in units, and a table for each of so many units of the disk. */
  readonly unitBytes: number;
  readonly unitsPerTable: number;
  readonly tableBytes: number;
  /** All the content is in `fileBytes` already, and nothing is less with less of it. */
  readonly isFixed: boolean;
}

/** Of every VMDK that is made here. */
const GRAIN_BYTES = 65_536;
const ENTRY_BYTES = 8;

/** Reads no content, only where there is some. */
export async function measureImage(options: MeasureOptions): Promise<Measure> {
  const { disk, formatName, settings = {}, passphrase } = options;
  const wanted = typeof disk === 'number' ? disk : disk.virtualSizeBytes;
  const sizeBytes = roundUp(wanted, SECTOR_BYTES);
  const driver = await driverOf(formatName);
  if (driver.measure !== undefined) {
    return measurePlanned(options, await driver.measure({ sizeBytes, settings, passphrase }));
  }
  const mock = await make(options, sizeBytes);
  const { fileBytes, unitBytes, unitsPerTable, tableBytes, isFixed } = mock;
  if (isFixed) return { requiredBytes: fileBytes, fullyAllocatedBytes: fileBytes };
  const used = await countUnits(options, unitBytes, unitsPerTable);
  const units = Math.ceil(sizeBytes / unitBytes);
  const tables = Math.ceil(units / unitsPerTable);
  return {
    requiredBytes: fileBytes + used.units * unitBytes + used.tables * tableBytes,
    fullyAllocatedBytes: fileBytes + units * unitBytes + tables * tableBytes,
  };
}

/** Tables count as if all were there, as in qemu-img. */
async function measurePlanned(options: MeasureOptions, planned: PlannedSize): Promise<Measure> {
  const { tableBytes, contentBytes, unitBytes, isHeld } = planned;
  const fullyAllocatedBytes = tableBytes + contentBytes;
  if (isHeld) return { requiredBytes: fullyAllocatedBytes, fullyAllocatedBytes };
  const { units } = await countUnits(options, unitBytes, 1);
  // A data file ends where the disk does, in the middle of a unit perhaps.
  const requiredBytes = tableBytes + Math.min(units * unitBytes, contentBytes);
  return { requiredBytes, fullyAllocatedBytes };
}

async function make(options: MeasureOptions, sizeBytes: number): Promise<Mock> {
  const { formatName, settings = {}, passphrase } = options;
  const driver = await driverOf(formatName);
  if (driver.create === undefined) throw unmeasured(`${formatName} images are not made here`);
  if (driver.isStream?.(settings)) {
    throw unmeasured('a stream is as long as compression leaves it');
  }
  const files = [new SizingStorage(`new.${formatName}`)];
  const [main] = files;
  if (main === undefined) throw new Error('an image has a file');
  const createFile = async (name: string) => {
    const file = new SizingStorage(name);
    files.push(file);
    return file;
  };
  await driver.create(main, { sizeBytes, settings, createFile, passphrase });
  const fileBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const fixed = { fileBytes, unitBytes: 1, unitsPerTable: 1, tableBytes: 0, isFixed: true };
  if (formatName === 'raw' || formatName === 'cow' || formatName === 'luks') return fixed;
  const { unitBytes = GRAIN_BYTES, details } = await driver.info(main);
  if (formatName === 'vmdk') {
    const isFixed = String(details.subformat).endsWith('Flat');
    return { ...fixed, unitBytes, isFixed };
  }
  const isQed = formatName === 'qed';
  const tableBytes = isQed
    ? Number(details.tableClusters) * unitBytes
    : Number(details.tableEntries ?? 0) * ENTRY_BYTES;
  const unitsPerTable = Math.max(1, tableBytes / ENTRY_BYTES);
  // What follows begins where a unit may.
  const startBytes = Math.ceil(fileBytes / unitBytes) * unitBytes;
  return { fileBytes: startBytes, unitBytes, tableBytes, unitsPerTable, isFixed: false };
}

/** Units of the disk that have content, and tables of so many units that have such units. */
async function countUnits(options: MeasureOptions, unitBytes: number, unitsPerTable: number) {
  const { disk, signal, onProgress } = options;
  const counted = { units: 0, tables: 0 };
  if (typeof disk === 'number') return counted;
  const { virtualSizeBytes: totalBytes } = disk;
  let nextUnit = 0;
  let nextTable = 0;
  const breath = new Breath();
  for (let offset = 0; offset < totalBytes; ) {
    await breath.draw();
    signal?.throwIfAborted();
    const { isZero, length } = await disk.extent(offset, totalBytes - offset);
    if (!isZero) {
      const first = Math.max(nextUnit, Math.floor(offset / unitBytes));
      const end = Math.ceil((offset + length) / unitBytes);
      counted.units += Math.max(0, end - first);
      nextUnit = Math.max(nextUnit, end);
      const firstTable = Math.max(nextTable, Math.floor(first / unitsPerTable));
      const endTable = Math.ceil(end / unitsPerTable);
      counted.tables += Math.max(0, endTable - firstTable);
      nextTable = Math.max(nextTable, endTable);
    }
    offset += length;
    onProgress?.({ doneBytes: offset, totalBytes });
  }
  return counted;
}

function unmeasured(cause: string): TmemError {
  return new TmemError('unsupported', `the size cannot be told: ${cause}; convert, and see`);
}
