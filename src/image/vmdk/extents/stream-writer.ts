/**
 * Writing a stream: compressed grains one after the other, each grain table behind the last of its
 * grains, and at the end the directory and the footer. What is written is never written again, so
 * that grains come in the order of the disk and each once.
 */

import { TmemError } from '../../../lib/errors.ts';
import { JoinedRuns } from '../../../lib/joined-runs.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { Mapping, WritableFormat } from '../../format.ts';
import {
  compressGrain,
  decompressGrain,
  encodeMarker,
  encodeTrailer,
  MARKER,
} from '../structures/markers.ts';
import {
  POSITION_SECTORS_MAX,
  SECTOR_BYTES,
  type SparseHeader,
  tableCount,
} from '../structures/sparse-header.ts';
import { checkIsWritable, type VmdkFile } from '../structures/vmdk-file.ts';
import { HOLE } from './grain-tables.ts';

/** A stream that `create` has begun, with no grain in it; any other is refused. */
export async function openStreamWriter(
  storage: ResizableStorage,
  { descriptor, header }: VmdkFile,
): Promise<StreamWriter> {
  const { name } = storage;
  if (header === undefined) throw new Error('vmdk: a stream has a header');
  checkIsWritable(header, name);
  const beginOffset = header.overheadSectors * SECTOR_BYTES;
  if (header.directorySector === undefined && storage.sizeBytes === beginOffset) {
    return new StreamWriter(storage, header, descriptor.cid);
  }
  const advice = 'open it for reading only, and write to an image on top of it or convert it';
  throw new TmemError('unsupported', `cannot write "${name}": it is a finished stream; ${advice}`);
}

export class StreamWriter implements WritableFormat {
  readonly formatName = 'vmdk';
  readonly isWritable = true;
  readonly isAppendOnly = true;
  readonly compression = 'deflate';
  readonly unitBytes: number;
  readonly virtualSizeBytes: number;
  readonly storages: readonly ResizableStorage[];
  readonly cid: number;
  readonly #storage: ResizableStorage;
  readonly #header: SparseHeader;
  /** Sectors of the tables that are written. */
  readonly #directory: Uint32Array;
  /** The table whose grains come now; it is written behind the last of them. */
  readonly #table: Uint32Array;
  #tableIndex = 0;
  /** Where the next grain goes. */
  #endOffset: number;
  /** The last grain that was given to be written, in the order of the disk. */
  #lastGrain = -1;
  #appending: Promise<void> = Promise.resolve();
  #failure: unknown;
  #isFinished = false;
  readonly #syncs = new JoinedRuns(() => this.#inTurn(() => this.#finish()));

  constructor(storage: ResizableStorage, header: SparseHeader, cid: number) {
    this.#storage = storage;
    this.#header = header;
    this.cid = cid;
    this.storages = [storage];
    this.unitBytes = header.grainSectors * SECTOR_BYTES;
    this.virtualSizeBytes = header.capacitySectors * SECTOR_BYTES;
    this.#directory = new Uint32Array(tableCount(header));
    this.#table = new Uint32Array(header.entriesPerTable);
    this.#endOffset = header.overheadSectors * SECTOR_BYTES;
  }

  async map(offset: number): Promise<Mapping> {
    const { unitBytes, virtualSizeBytes } = this;
    const grain = Math.floor(offset / unitBytes);
    const length = Math.min((grain + 1) * unitBytes, virtualSizeBytes) - offset;
    const entry = await this.#entry(grain);
    if (entry === HOLE) return { kind: 'hole', length };
    const storage = this.#storage;
    const storageOffset = entry * SECTOR_BYTES;
    const sector = grain * this.#header.grainSectors;
    const stored = { name: storage.name, storageOffset, sector, surplusBytes: 0 };
    const unit = {
      ...{ guestOffset: grain * unitBytes, unitBytes, storage, storageOffset },
      storedBytesMax: 2 * unitBytes,
      decompress: (src: Buffer, dst: Buffer) => decompressGrain(src, dst, stored),
    };
    return { kind: 'compressed', length, unit };
  }

  allocate(offset: number): Promise<never> {
    return Promise.reject(this.#refusal(offset, 'a stream takes whole grains, compressed, alone'));
  }

  /** What is not written yet reads as zeros anyway. */
  async zero(offset: number, length: number): Promise<boolean> {
    await this.#appending;
    const end = Math.ceil((offset + length) / this.unitBytes);
    for (let grain = Math.floor(offset / this.unitBytes); grain < end; grain++) {
      if (grain > this.#lastGrain) break;
      if ((await this.#entry(grain)) !== HOLE) return false;
    }
    return true;
  }

  async discard(): Promise<void> {}

  /**
   * Grains are stored in the order of the calls, which must be that of the disk; they are compressed
   * in parallel.
   */
  async writeCompressed(offset: number, unit: Buffer): Promise<void> {
    const grain = offset / this.unitBytes;
    if (grain <= this.#lastGrain) {
      throw this.#refusal(
        offset,
        'the grains of a stream are written once, in the order of the disk',
      );
    }
    this.#lastGrain = grain;
    this.#isFinished = false;
    const compressed = compressGrain(unit, grain * this.#header.grainSectors);
    compressed.catch(() => undefined); // heard of below
    await this.#inTurn(async () => this.#append(grain, await compressed));
  }

  /** Writes the end of the stream; a grain that comes later is written over it. */
  sync(): Promise<void> {
    return this.#syncs.run();
  }

  async close(): Promise<void> {
    if (!this.#isFinished && this.#failure === undefined) await this.sync();
  }

  /** One after the other; after the first failure nothing more is written. */
  #inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.#appending.then(() => {
      if (this.#failure !== undefined) throw this.#failure;
      return step();
    });
    this.#appending = done.catch((cause: unknown) => {
      this.#failure ??= cause;
    });
    return done;
  }

  async #append(grain: number, bytes: Buffer): Promise<void> {
    const { entriesPerTable } = this.#header;
    const tableIndex = Math.floor(grain / entriesPerTable);
    if (tableIndex !== this.#tableIndex) {
      const table = this.#encodeTable();
      if (table !== undefined) {
        await this.#write(table, this.#endOffset);
        this.#directory[this.#tableIndex] = this.#endOffset / SECTOR_BYTES + 1;
        this.#endOffset += table.length;
      }
      this.#table.fill(HOLE);
      this.#tableIndex = tableIndex;
    }
    await this.#write(bytes, this.#endOffset);
    this.#table[grain - tableIndex * entriesPerTable] = this.#endOffset / SECTOR_BYTES;
    this.#endOffset += bytes.length;
  }

  /** The marker and the current table; undefined when nothing is in it. */
  #encodeTable(): Buffer | undefined {
    if (this.#table.every((entry) => entry === HOLE)) return undefined;
    return encodeEntries(MARKER.grainTable, this.#table);
  }

  async #finish(): Promise<void> {
    const lastGrain = this.#lastGrain;
    const table = this.#encodeTable() ?? Buffer.alloc(0);
    const directory = this.#directory.slice();
    if (table.length > 0) directory[this.#tableIndex] = this.#endOffset / SECTOR_BYTES + 1;
    const directoryOffset = this.#endOffset + table.length + SECTOR_BYTES;
    const directorySector = directoryOffset / SECTOR_BYTES;
    const trailer = encodeTrailer({ ...this.#header, directorySector });
    const end = Buffer.concat([table, encodeEntries(MARKER.grainDirectory, directory), trailer]);
    await this.#write(end, this.#endOffset);
    await this.#storage.sync();
    this.#isFinished = lastGrain === this.#lastGrain;
  }

  async #write(bytes: Buffer, offset: number): Promise<void> {
    if (offset + bytes.length > POSITION_SECTORS_MAX * SECTOR_BYTES) {
      const cause = 'a vmdk cannot be longer than 2 TiB';
      const advice = 'convert to another format';
      throw new TmemError('no-space', `cannot extend "${this.#storage.name}": ${cause}; ${advice}`);
    }
    await this.#storage.write(bytes, 0, bytes.length, offset);
  }

  /** The sector of a grain, or `HOLE`; finished tables are read from the file. */
  async #entry(grain: number): Promise<number> {
    const { entriesPerTable } = this.#header;
    const tableIndex = Math.floor(grain / entriesPerTable);
    const index = grain - tableIndex * entriesPerTable;
    if (tableIndex === this.#tableIndex) return this.#table[index] ?? HOLE;
    const sector = this.#directory[tableIndex] ?? 0;
    if (sector === 0) return HOLE;
    const bytes = Buffer.alloc(4);
    await this.#storage.read(bytes, 0, 4, sector * SECTOR_BYTES + index * 4);
    return bytes.readUInt32LE(0);
  }

  #refusal(offset: number, cause: string): TmemError {
    const where = `cannot write at offset ${offset} of "${this.#storage.name}"`;
    return new TmemError('unsupported', `${where}: ${cause}; convert into it instead`);
  }
}

/** A marker and the entries behind it, padded to whole sectors. */
function encodeEntries(type: number, entries: Uint32Array): Buffer {
  const sectors = Math.ceil((entries.length * 4) / SECTOR_BYTES);
  const bytes = Buffer.alloc(sectors * SECTOR_BYTES);
  for (const [index, entry] of entries.entries()) bytes.writeUInt32LE(entry, index * 4);
  return Buffer.concat([encodeMarker(type, sectors), bytes]);
}
