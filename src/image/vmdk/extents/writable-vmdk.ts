/** A VMDK that is written: the order of what reaches its files, over all extents. */

import { TmemError } from '../../../lib/errors.ts';
import { JoinedRuns } from '../../../lib/joined-runs.ts';
import { settleAll } from '../../../lib/settle-all.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { Mapping, WritableFormat, WriteTarget } from '../../format.ts';
import type { RequestEpochs } from '../../tables/request-epochs.ts';
import type { ContentId } from '../structures/content-id.ts';
import { markClean } from '../structures/sparse-header.ts';
import type { Extent, ExtentChanges, ExtentWriter } from './extent.ts';
import type { PlacedExtent, VmdkFormat } from './vmdk-format.ts';

/** Entries of an extent that wait for their data, before allocations wait for a sync. */
const STAGED_MAX = 16_384;
/** Entries that are changed before that is looked at again. */
const STEP_UNITS = 4096;

interface Piece {
  readonly extent: Extent;
  readonly offset: number;
  readonly length: number;
}

export interface WritableVmdkParts {
  readonly format: VmdkFormat;
  readonly epochs: RequestEpochs;
  readonly contentId: ContentId;
  /** Extents that were found unclean; the close says that they are not any more. */
  readonly uncleanFiles: readonly ResizableStorage[];
}

export class WritableVmdk implements WritableFormat {
  readonly formatName = 'vmdk';
  readonly isWritable = true;
  readonly unitBytes: number;
  readonly epochs: RequestEpochs;
  readonly #format: VmdkFormat;
  readonly #contentId: ContentId;
  #uncleanFiles: readonly ResizableStorage[];
  readonly #syncs = new JoinedRuns(() => this.#sync());

  constructor(parts: WritableVmdkParts) {
    this.#format = parts.format;
    this.#contentId = parts.contentId;
    this.#uncleanFiles = parts.uncleanFiles;
    this.epochs = parts.epochs;
    const units = parts.format.extents.map(({ extent }) => extent.writer?.unitBytes ?? 1);
    this.unitBytes = units.reduce((largest, unit) => Math.max(largest, unit), 1);
  }

  get virtualSizeBytes(): number {
    return this.#format.virtualSizeBytes;
  }

  get storages() {
    return this.#format.storages;
  }

  get tables() {
    return this.#format.tables;
  }

  get cid(): number {
    return this.#contentId.current;
  }

  map(offset: number, length: number): Mapping | Promise<Mapping> {
    return this.#format.map(offset, length);
  }

  allocate(offset: number, length: number): WriteTarget | Promise<WriteTarget> {
    const changing = this.#contentId.change();
    if (changing !== undefined) return changing.then(() => this.allocate(offset, length));
    const placed = this.#format.extentAt(offset);
    const writer = writerOf(placed);
    if (writer.stagedCount > STAGED_MAX) {
      return this.sync().then(() => this.allocate(offset, length));
    }
    return writer.allocate(offset - placed.begin, Math.min(length, placed.end - offset));
  }

  async zero(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast = false,
  ): Promise<boolean> {
    const pieces = [...this.#format.pieces(offset, length)];
    if (!pieces.every((each) => writerOf(each).canZero(each.offset, each.length))) return false;
    await this.#contentId.change();
    await this.#inSteps(pieces, (writer, at, bytes) =>
      writer.zero(at, bytes, mayDiscard, mustBeFast),
    );
    return true;
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#contentId.change();
    const pieces = this.#format.pieces(offset, length);
    await this.#inSteps(pieces, (writer, at, bytes) => writer.discard(at, bytes));
  }

  sync(): Promise<void> {
    return this.#syncs.run();
  }

  /** An image that was found unclean is written once more, mended. */
  async close(): Promise<void> {
    await this.sync();
    for (const { extent } of this.#format.extents) await extent.writer?.cutEnd?.();
    for (const storage of this.#uncleanFiles) await markClean(storage);
    this.#uncleanFiles = [];
  }

  /** Changes many entries, but never more than may wait for a sync. */
  async #inSteps(
    pieces: Iterable<Piece>,
    step: (writer: ExtentWriter, offset: number, length: number) => Promise<void>,
  ): Promise<void> {
    for (const piece of pieces) {
      const writer = writerOf(piece);
      const isFlat = writer.unitBytes === 1;
      const stepBytes = isFlat ? piece.offset + piece.length : writer.unitBytes * STEP_UNITS;
      const end = piece.offset + piece.length;
      for (let at = piece.offset; at < end; ) {
        if (writer.stagedCount > STAGED_MAX) await this.sync();
        const next = Math.min(end, Math.floor(at / stepBytes + 1) * stepBytes);
        await step(writer, at, next - at);
        at = next;
      }
    }
  }

  /** Data, then the tables that point to it; each step durable before the next. */
  async #sync(): Promise<void> {
    const changes: ExtentChanges[] = [];
    for (const { extent } of this.#format.extents) {
      const taken = extent.writer?.takeChanges();
      if (taken !== undefined) changes.push(taken);
    }
    await this.#syncStorages();
    if (changes.length === 0) return;
    for (const each of changes) await each.write();
    await this.#syncStorages();
    for (const each of changes) each.finish();
  }

  async #syncStorages(): Promise<void> {
    await settleAll(this.#format.storages.map((storage) => storage.sync()));
  }
}

function writerOf({ extent }: Pick<PlacedExtent, 'extent'>): ExtentWriter {
  if (extent.writer !== undefined) return extent.writer;
  const name = extent.storage?.name ?? 'zeros';
  throw new TmemError('read-only', `the extent "${name}" is for reading only; write elsewhere`);
}
