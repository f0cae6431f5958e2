/**
 * Images of qcow's first version. Data is durable before its entry, and a new table before the first
 * level names it, so that a crash only leaks; a partial write of a new cluster fills the rest of it
 * with what the guest reads there, whatever the size of clusters.
 */

import { TmemError } from '../../lib/errors.ts';
import { roundUp } from '../../lib/round-up.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import { AppendedFormat } from '../appended/appended-format.ts';
import { AppendedDisk } from '../appended/disk.ts';
import { ENTRY_BYTES } from '../appended/layout.ts';
import type { ImageFormat, Mapping, OpenOptions, SectorCipher } from '../format.ts';
import type { TableStatistics } from '../tables/table-cache.ts';
import {
  compress,
  compressedEntry,
  compressedMapping,
  compressedPlace,
  isCompressedPlace,
} from './compressed.ts';
import {
  BACKING_NAME,
  QCOW_HEADER_BYTES,
  type QcowHeader,
  qcowCodec,
  qcowLayout,
  swapLevelOne,
} from './header.ts';

export async function openQcowDisk(
  storage: ResizableStorage,
  header: QcowHeader,
  { tableBytesMax, pinnedBytesMax }: Pick<OpenOptions, 'tableBytesMax' | 'pinnedBytesMax'>,
): Promise<AppendedDisk> {
  const unitBytes = 2 ** header.clusterBits;
  const disk: AppendedDisk = await AppendedDisk.open({
    storage,
    layout: qcowLayout(header),
    virtualSizeBytes: header.virtualSizeBytes,
    hasBacking: header.backingName !== undefined,
    isOrdered: true,
    tableBytesMax,
    pinnedBytesMax,
    // Whatever a crash left at the end of the file stays there.
    end: roundUp(storage.sizeBytes, unitBytes),
    convertLevelOne: header.hasLittleEndianL1 ? swapLevelOne : undefined,
    mapCompressed: (unit, rawEntry, inUnit) => {
      const place = compressedPlace(rawEntry, 0, header.clusterBits);
      if (!isCompressedPlace(place, QCOW_HEADER_BYTES, storage.sizeBytes)) {
        throw disk.tables.broken(unit);
      }
      return compressedMapping(storage, place, unit * unitBytes, unitBytes, inUnit);
    },
  });
  return disk;
}

/** A qcow image that may be written: it is not enciphered and not of blktap. */
export class QcowFormat extends AppendedFormat {
  readonly formatName = 'qcow';
  readonly compression = 'deflate';
  readonly #clusterBits: number;

  constructor(disk: AppendedDisk, header: QcowHeader) {
    super(disk);
    this.#clusterBits = header.clusterBits;
  }

  sync(): Promise<void> {
    return this.disk.tables.flush();
  }

  /** The place and the length of its name are all that the header says of a backing file. */
  async dropBacking(): Promise<void> {
    await this.sync();
    const { storage } = this.disk;
    await storage.write(Buffer.alloc(BACKING_NAME.bytes), 0, BACKING_NAME.bytes, BACKING_NAME.at);
    await storage.sync();
    this.disk.dropBacking();
  }

  /** Compressed clusters are packed one behind the other while nothing else is written. */
  async writeCompressed(offset: number, unit: Buffer): Promise<void> {
    const packed = await compress(unit);
    await this.disk.replace(offset / this.unitBytes, async () => {
      const { space, storage } = this.disk;
      const bytes = packed ?? unit;
      const run = packed === undefined ? space.take(unit.length) : space.takeBytes(packed.length);
      try {
        const entry = packed && compressedEntry(run, this.#clusterBits);
        const raw = packed === undefined ? plainEntry(run.offset) : entry;
        if (raw === undefined) throw tooFar(storage.name, run.offset);
        await storage.write(bytes, 0, bytes.length, run.offset);
        space.settle(run);
        return raw;
      } catch (cause) {
        space.giveBack(run);
        throw cause;
      }
    });
  }
}

/** A qcow image that is only read, perhaps through a cipher; compressed clusters are in the clear. */
export class ReadOnlyQcowFormat implements ImageFormat {
  readonly formatName = 'qcow';
  readonly storages: readonly [ResizableStorage];
  readonly #disk: AppendedDisk;
  readonly #cipher: SectorCipher | undefined;

  constructor(disk: AppendedDisk, cipher: SectorCipher | undefined) {
    this.storages = [disk.storage];
    this.#disk = disk;
    this.#cipher = cipher;
  }

  get virtualSizeBytes(): number {
    return this.#disk.virtualSizeBytes;
  }

  get tables(): TableStatistics {
    return this.#disk.tables.cache.statistics;
  }

  get pinnedBytes(): number {
    return this.#disk.pinnedBytes;
  }

  map(offset: number, length: number): Mapping | Promise<Mapping> {
    const mapping = this.#disk.map(offset, length);
    if (this.#cipher === undefined) return mapping;
    if (mapping instanceof Promise) return mapping.then((late) => this.#enciphered(late));
    return this.#enciphered(mapping);
  }

  #enciphered(mapping: Mapping): Mapping {
    return mapping.kind === 'data' ? { ...mapping, cipher: this.#cipher } : mapping;
  }
}

function plainEntry(offset: number): Buffer {
  const raw = Buffer.alloc(ENTRY_BYTES);
  qcowCodec.write(raw, 0, offset);
  return raw;
}

function tooFar(name: string, offset: number): TmemError {
  const message = `cannot compress into "${name}" at offset ${offset}: entries do not reach there`;
  return new TmemError('no-space', `${message}; use larger clusters`);
}
