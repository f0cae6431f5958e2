/**
 * QED images (QED specification): two levels of tables, clusters appended to the file. Without a
 * backing file an allocation costs no sync; see `need-check.ts`. With one, data is durable before
 * its entry, since a check could not tell what a hole shows.
 */

import { TmemError } from '../../lib/errors.ts';
import { roundUp } from '../../lib/round-up.ts';
import { writeUInt64LE } from '../../lib/uint64.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import { AppendedFormat } from '../appended/appended-format.ts';
import { AppendedDisk } from '../appended/disk.ts';
import type { CheckReport, OnlineCheckOptions } from '../format.ts';
import { FEATURE, FIELD, type QedHeader, qedLayout, virtualSizeMax } from './header.ts';
import { type After, NeedCheck, systemAfter } from './need-check.ts';
import { checkOnline } from './online-check.ts';

export interface QedFormatOptions {
  readonly tableBytesMax: number;
  readonly pinnedBytesMax?: number | undefined;
  readonly after?: After | undefined;
}

/** An open QED image; writable only on a storage that is. */
export class QedFormat extends AppendedFormat {
  readonly formatName = 'qed';
  readonly #needCheck: NeedCheck | undefined;
  readonly #header: QedHeader;
  /** As the storage has it: a larger disk is noted with the next sync, when what is new is zeros. */
  #storedSizeBytes: number;

  private constructor(header: QedHeader, disk: AppendedDisk, needCheck: NeedCheck | undefined) {
    super(disk);
    this.#header = header;
    this.#storedSizeBytes = header.virtualSizeBytes;
    this.#needCheck = needCheck;
  }

  /** The header is that of the storage, which nothing else changes from then on. */
  static async open(
    storage: ResizableStorage,
    header: QedHeader,
    options: QedFormatOptions,
  ): Promise<QedFormat> {
    const { clusterBytes, virtualSizeBytes } = header;
    const hasBacking = (header.features & FEATURE.backingFile) !== 0;
    const after = options.after ?? systemAfter;
    let disk: AppendedDisk | undefined;
    const flush = async () => disk?.tables.flush();
    const mark = (isSet: boolean) => writeNeedCheck(storage, header.features, isSet);
    const needCheck = hasBacking ? undefined : new NeedCheck({ mark, flush, after });
    disk = await AppendedDisk.open({
      storage,
      layout: qedLayout(header),
      virtualSizeBytes,
      hasBacking,
      isOrdered: hasBacking,
      tableBytesMax: options.tableBytesMax,
      pinnedBytesMax: options.pinnedBytesMax,
      gate: needCheck,
      // What is behind the last whole cluster a crash may have left of an allocation; or a table names
      // it, in a file that was cut.
      end: roundUp(storage.sizeBytes, clusterBytes),
    });
    return new QedFormat(header, disk, needCheck);
  }

  async sync(): Promise<void> {
    const sizeBytes = this.virtualSizeBytes;
    await this.disk.tables.flush();
    if (sizeBytes === this.#storedSizeBytes) return;
    await writeImageSize(this.disk.storage, sizeBytes);
    this.#storedSizeBytes = sizeBytes;
  }

  /** Only larger than the storage says, in steps of 512 bytes; durable after the next sync. */
  async resize(sizeBytes: number): Promise<void> {
    const { name } = this.disk.storage;
    const refuse = (kind: 'unsupported' | 'invalid', why: string): never => {
      const message = `cannot resize "${name}" to ${sizeBytes} bytes: ${why}`;
      throw new TmemError(kind, message, { context: { image: name, sizeBytes } });
    };
    if (sizeBytes < this.#storedSizeBytes) {
      refuse('unsupported', 'qed images only grow; convert it to a smaller one');
    }
    if (sizeBytes % 512 !== 0) refuse('invalid', 'give a multiple of 512');
    const max = virtualSizeMax(this.#header);
    if (sizeBytes > max) refuse('invalid', `its tables have room for ${max}; convert it`);
    await this.disk.prepareGrowth(sizeBytes);
    this.disk.setVirtualSize(sizeBytes);
  }

  /**
   * The feature bit says whether there is a backing file; the name behind it means nothing then. Until
   * the image is opened anew its data stay ordered before its tables, so that it needs no mark.
   */
  async dropBacking(): Promise<void> {
    await this.sync();
    await writeNoBacking(this.disk.storage, this.#header.features);
    this.disk.dropBacking();
  }

  /** Checks the image while it is served; see `online-check.ts`. */
  checkOnline(options: OnlineCheckOptions = {}): Promise<CheckReport> {
    return checkOnline(this.disk, options);
  }

  override async close(): Promise<void> {
    if (this.disk.storage.isReadOnly) return;
    // First the timer, which must not meet a closed storage.
    if (this.#needCheck !== undefined) await this.#needCheck.close();
    await this.sync();
  }
}

/** Writes the features with or without the mark, durably. */
export async function writeNeedCheck(
  storage: ResizableStorage,
  features: number,
  isSet: boolean,
): Promise<void> {
  const raw = Buffer.alloc(8);
  raw.writeUInt32LE(isSet ? features | FEATURE.needCheck : features & ~FEATURE.needCheck, 0);
  await storage.write(raw, 0, raw.length, FIELD.features);
  await storage.sync();
}

/** Writes away what a writer that does not know them must take away, durably. */
export async function clearAutoclear(storage: ResizableStorage): Promise<void> {
  await storage.write(Buffer.alloc(8), 0, 8, FIELD.autoclear);
  await storage.sync();
}

async function writeNoBacking(storage: ResizableStorage, features: number): Promise<void> {
  const raw = Buffer.alloc(8);
  raw.writeUInt32LE(features & ~(FEATURE.backingFile | FEATURE.backingIsRaw), 0);
  await storage.write(raw, 0, raw.length, FIELD.features);
  await storage.sync();
  await storage.write(Buffer.alloc(8), 0, 8, FIELD.backingName);
  await storage.sync();
}

async function writeImageSize(storage: ResizableStorage, sizeBytes: number): Promise<void> {
  const raw = Buffer.alloc(8);
  writeUInt64LE(raw, sizeBytes, 0);
  await storage.write(raw, 0, raw.length, FIELD.imageSize);
  await storage.sync();
}
