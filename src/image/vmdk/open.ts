/** Opening a VMDK: its descriptor, its extents, and what it stands on. */

import { TmemError } from '../../lib/errors.ts';
import { roundUp } from '../../lib/round-up.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { ImageReference, OpenedFormat, OpenOptions } from '../format.ts';
import { RequestEpochs } from '../tables/request-epochs.ts';
import { TableCache } from '../tables/table-cache.ts';
import type { Extent } from './extents/extent.ts';
import { type ExtentFile, openExtentFiles } from './extents/extent-files.ts';
import { flatExtent, zeroExtent } from './extents/flat-extent.ts';
import { GrainAllocation } from './extents/grain-allocation.ts';
import { GrainTables, SLICE_BYTES } from './extents/grain-tables.ts';
import { SparseExtent } from './extents/sparse-extent.ts';
import { openStreamWriter } from './extents/stream-writer.ts';
import { TablesSpace, WINDOW_BYTES } from './extents/tables-space.ts';
import { VmdkFormat } from './extents/vmdk-format.ts';
import { WritableVmdk } from './extents/writable-vmdk.ts';
import { findLostGrain } from './scan/lost-end.ts';
import { checkPlacesForWriting } from './scan/occupied.ts';
import { reconcile } from './scan/reconcile.ts';
import { ContentId } from './structures/content-id.ts';
import { type Descriptor, hasParent } from './structures/descriptor.ts';
import { SECTOR_BYTES, tableCount } from './structures/sparse-header.ts';
import {
  checkIsWritable,
  readVmdkFile,
  type SparseLayout,
  type VmdkFile,
} from './structures/vmdk-file.ts';

/** Two tables and two directories at once, whatever the limit is. */
const CACHE_BYTES_MIN = 64 * SLICE_BYTES;

/** The image that shows through the holes of this one, as its descriptor says it. */
export function parentOf(descriptor: Descriptor): ImageReference | undefined {
  const { parentName, parentCid, parentCidNext } = descriptor;
  if (parentName === undefined || !hasParent(descriptor)) return undefined;
  return { role: 'parent', name: parentName, formatName: 'vmdk', parentCid, parentCidNext };
}

/** See `FormatDriver.open`. */
export async function openVmdk(
  storage: ResizableStorage,
  options: OpenOptions,
): Promise<OpenedFormat> {
  if (options.snapshot !== undefined) {
    const cause = 'vmdk images have no internal snapshots';
    throw new TmemError('usage', `cannot open "${storage.name}": ${cause}; open another file`);
  }
  const file = await readVmdkFile(storage);
  if (!options.isReadOnly && file.descriptor.hasTrackedChanges) {
    const cause = 'its changes are tracked in another file';
    const advice = 'open it for reading only, or write to an image on top of it';
    throw new TmemError('unsupported', `cannot write "${storage.name}": ${cause}; ${advice}`);
  }
  if (!options.isReadOnly && file.header?.isCompressed) {
    return { format: await openStreamWriter(storage, file) };
  }
  const files = await openExtentFiles(storage, file, options.openFile);
  try {
    return await assemble(storage, file, files, options);
  } catch (cause) {
    for (const other of new Set(files.map((each) => each.storage))) {
      if (other !== storage) await other?.close();
    }
    throw cause;
  }
}

async function assemble(
  storage: ResizableStorage,
  file: VmdkFile,
  files: readonly ExtentFile[],
  options: OpenOptions,
): Promise<OpenedFormat> {
  const { descriptor } = file;
  const { isReadOnly } = options;
  const backing = parentOf(descriptor);
  if (!isReadOnly) for (const each of files) await checkForWriting(each);
  const epochs = new RequestEpochs();
  const build = new ExtentBuilder(files, options, epochs, backing !== undefined);
  const extents: Extent[] = [];
  for (const index of files.keys()) extents.push(await build.extent(storage.name, index));
  const tables = build.hasTables ? build.cache.statistics : undefined;
  const { cid } = descriptor;
  const format = new VmdkFormat({ ownStorage: storage, extents, tables, cid });
  if (isReadOnly) return { format, backing };
  const place = { storage, offset: file.descriptorOffset + descriptor.cidOffset };
  const digits = descriptor.cidDigits;
  const contentId = new ContentId({ ...place, digits }, cid, options.onContentChange);
  const unclean = files.filter(({ layout }) => layout?.isUnclean);
  const parts = { format, epochs, contentId, uncleanFiles: unclean.map(storageOf) };
  const writable = new WritableVmdk(parts);
  // What a table and its copy do not agree on is made one before anything new can lie there.
  if (unclean.length > 0) await writable.sync();
  return { format: writable, backing };
}

function storageOf({ storage }: ExtentFile): ResizableStorage {
  if (storage === undefined) throw new Error('vmdk: zeros have no file');
  return storage;
}

async function checkForWriting({ line, storage, layout }: ExtentFile): Promise<void> {
  if (storage === undefined) return;
  const refuse = (cause: string, advice: string) =>
    new TmemError('unsupported', `cannot write "${storage.name}": ${cause}; ${advice}`);
  if (line.access !== 'RW') {
    throw refuse(`the descriptor says ${line.access} of it`, 'open the image for reading only');
  }
  if (line.type === 'VMFSSPARSE' || layout?.isCompressed) {
    throw refuse('such an extent can only be read', 'write to an image on top of it');
  }
  if (layout === undefined) return;
  checkIsWritable(layout, storage.name);
  await checkPlacesForWriting(storage, layout);
}

/** Makes extents that share one cache for the tables of all of them. */
class ExtentBuilder {
  readonly cache: TableCache;
  readonly hasTables: boolean;
  readonly #files: readonly ExtentFile[];
  readonly #options: OpenOptions;
  readonly #epochs: RequestEpochs;
  readonly #hasBacking: boolean;
  #guestOffset = 0;
  #windowIndex = 0;

  constructor(
    files: readonly ExtentFile[],
    options: OpenOptions,
    epochs: RequestEpochs,
    hasBacking: boolean,
  ) {
    const sparse = files.filter(({ layout }) => layout !== undefined);
    const limitBytes = Math.max(CACHE_BYTES_MIN, options.tableBytesMax);
    const storage = new TablesSpace(sparse.map(storageOf));
    this.cache = new TableCache({ storage, sliceBytes: SLICE_BYTES, limitBytes });
    this.hasTables = sparse.length > 0;
    this.#files = files;
    this.#options = options;
    this.#epochs = epochs;
    this.#hasBacking = hasBacking;
  }

  /** To be called for each index in turn. */
  async extent(imageName: string, index: number): Promise<Extent> {
    const file = this.#files[index];
    if (file === undefined) throw new Error(`vmdk: there is no extent ${index}`);
    const { line, storage, layout } = file;
    const { lengthBytes } = line;
    const guestOffset = this.#guestOffset;
    this.#guestOffset += lengthBytes;
    if (storage === undefined) return zeroExtent(imageName, lengthBytes);
    if (layout === undefined) return flatExtent(storage, line.fileOffset, lengthBytes);
    const grainBytes = layout.grainSectors * SECTOR_BYTES;
    const windowOffset = this.#windowIndex++ * WINDOW_BYTES;
    const tables = new GrainTables({
      ...{ storage, cache: this.cache, windowOffset, hasZeroEntries: layout.hasZeroedGrains },
      entriesPerTable: layout.entriesPerTable,
      tableCount: tableCount(layout),
      directoryOffset: layout.directorySector * SECTOR_BYTES,
      redundantDirectoryOffset: layout.redundantDirectorySector * SECTOR_BYTES,
      overheadBytes: layout.overheadSectors * SECTOR_BYTES,
    });
    if (layout.isUnclean && layout.redundantDirectorySector !== 0) {
      for (const [grain, entry] of await reconcile(storage, layout)) tables.stage(grain, entry);
    }
    const common = { storage, tables, grainBytes, lengthBytes };
    const writer = this.#options.isReadOnly
      ? undefined
      : new GrainAllocation({ ...common, ...this.#allocationParts(storage, layout) });
    const { isCompressed } = layout;
    return new SparseExtent({ ...common, isCompressed, guestOffset, writer });
  }

  #allocationParts(storage: ResizableStorage, layout: SparseLayout) {
    const grainBytes = layout.grainSectors * SECTOR_BYTES;
    const usedBytes = Math.max(storage.sizeBytes, layout.overheadSectors * SECTOR_BYTES);
    const endOffset = roundUp(usedBytes, grainBytes);
    return {
      entriesPerTable: layout.entriesPerTable,
      hasRedundantTables: layout.redundantDirectorySector !== 0,
      hasZeroEntries: layout.hasZeroedGrains,
      hasBacking: this.#hasBacking,
      epochs: this.#epochs,
      endOffset,
      findLostGrain: () => findLostGrain(storage, layout, endOffset),
    };
  }
}
