/** The header of an open image: what changes of it is written in place, a few bytes at a time. */

import { TmemError } from '../../../lib/errors.ts';
import { writeUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import type { Qcow2Header } from './header.ts';
import { recordBytes } from './header-extensions.ts';
import { AUTOCLEAR, AUTOCLEAR_KNOWN, EXTENSION, FIELD, INCOMPATIBLE } from './layout.ts';
import type { PinnedTable } from './pinned-table.ts';

/** Every write lies inside one sector, which a disk writes whole or not at all. */
export class HeaderFile {
  readonly #storage: ResizableStorage;
  #header: Qcow2Header;

  constructor(storage: ResizableStorage, header: Qcow2Header) {
    this.#storage = storage;
    this.#header = header;
  }

  /** As the storage has it, or will have it when the write under way has ended. */
  get header(): Qcow2Header {
    return this.#header;
  }

  /**
   * Durably clears the autoclear bits that this writer does not keep true: those that are not known,
   * and that of the bitmaps unless they are kept; without it they are inconsistent from then on.
   */
  async clearAutoclear(keepsBitmaps: boolean): Promise<void> {
    const known = keepsBitmaps ? AUTOCLEAR_KNOWN : AUTOCLEAR.rawDataFile;
    const kept = this.#header.autoclear & known;
    if (kept === this.#header.autoclear) return;
    await this.#writeFeatures({ ...this.#header, autoclear: kept });
  }

  /** Durably marks the image as corrupt, where the version can say so. */
  async markCorrupt(): Promise<void> {
    if (this.#header.version === 2) return;
    const incompatible = this.#header.incompatible | INCOMPATIBLE.corrupt;
    await this.#writeFeatures({ ...this.#header, incompatible });
  }

  /** Switches to an L1 table and a disk size at once; not durable until the next sync. */
  async writeDisk(l1: PinnedTable, sizeBytes: number): Promise<void> {
    this.#header = { ...this.#header, l1Offset: l1.offset, l1Entries: l1.entries, sizeBytes };
    const bytes = Buffer.alloc(FIELD.refcountTableOffset - FIELD.sizeBytes);
    writeUInt64BE(bytes, sizeBytes, 0);
    bytes.writeUInt32BE(this.#header.crypt, FIELD.crypt - FIELD.sizeBytes);
    bytes.writeUInt32BE(l1.entries, FIELD.l1Entries - FIELD.sizeBytes);
    writeUInt64BE(bytes, l1.offset, FIELD.l1Offset - FIELD.sizeBytes);
    await this.#storage.write(bytes, 0, bytes.length, FIELD.sizeBytes);
  }

  /** Switches to another refcount table; not durable until the next sync. */
  async writeRefcountTable(offset: number, clusters: number): Promise<void> {
    this.#header = {
      ...this.#header,
      refcountTableOffset: offset,
      refcountTableClusters: clusters,
    };
    const bytes = Buffer.alloc(12);
    writeUInt64BE(bytes, offset, 0);
    bytes.writeUInt32BE(clusters, 8);
    await this.#storage.write(bytes, 0, bytes.length, FIELD.refcountTableOffset);
  }

  /**
   * Durably says that there is no backing file. Its name goes first, in one write; its format, which
   * means nothing without it, becomes an empty one, so that no other record has to move.
   */
  async dropBacking(name: string): Promise<void> {
    const { extensions, clusterBytes, headerBytes } = this.#header;
    let end = headerBytes;
    let format = { offset: 0, length: 0 };
    for (const { type, data } of extensions) {
      if (type === EXTENSION.backingFormat) format = { offset: end + 8, length: data.length };
      end += recordBytes(data);
    }
    const next = Buffer.alloc(4);
    if (end + 8 <= clusterBytes) await readPadded(this.#storage, next, 0, 4, end);
    if (next.readUInt32BE(0) !== EXTENSION.end) {
      const cause = 'nothing but the name of its backing file ends the records of its header';
      const advice = 'let "qemu-img rebase" or "qemu-img amend" rewrite it';
      throw new TmemError('unsupported', `"${name}" keeps its backing file: ${cause}; ${advice}`);
    }
    const bytes = Buffer.alloc(FIELD.clusterBits - FIELD.backingNameOffset);
    await this.#storage.write(bytes, 0, bytes.length, FIELD.backingNameOffset);
    await this.#storage.sync();
    if (format.length > 0) {
      const empty = Buffer.alloc(format.length);
      await this.#storage.write(empty, 0, empty.length, format.offset);
      await this.#storage.sync();
    }
    // Not before all of it is done: until then the backing file shows through holes that are made.
    this.#header = { ...this.#header, backingName: undefined };
  }

  async #writeFeatures(header: Qcow2Header): Promise<void> {
    const bytes = Buffer.alloc(FIELD.refcountOrder - FIELD.incompatible);
    bytes.writeBigUInt64BE(header.incompatible, 0);
    bytes.writeBigUInt64BE(header.compatible, FIELD.compatible - FIELD.incompatible);
    bytes.writeBigUInt64BE(header.autoclear, FIELD.autoclear - FIELD.incompatible);
    await this.#storage.write(bytes, 0, bytes.length, FIELD.incompatible);
    await this.#storage.sync();
    this.#header = header;
  }
}
