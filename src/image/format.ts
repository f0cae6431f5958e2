/**
 * The contract of an image format: a format maps ranges and keeps its own tables; the generic code
 * in `image.ts` reads, fills, writes, decompresses and enciphers. No format carries data I/O.
 *
 * Offsets and lengths are bytes. A guest offset counts in the disk that the image holds, a storage
 * offset in the file that it is kept in.
 */

import type { ResizableStorage, Storage } from '../storage/storage.ts';
import type { RequestEpochs } from './tables/request-epochs.ts';
import type { TableStatistics } from './tables/table-cache.ts';

/** Every format by its name, as qemu-img calls them where it knows them. */
export const FORMAT_NAMES = ['raw', 'qcow2', 'qed', 'qcow', 'vmdk', 'cow', 'luks'] as const;
export type FormatName = (typeof FORMAT_NAMES)[number];

/** The size of every disk is a multiple of these bytes, and what is enciphered as one is as long. */
export const SECTOR_BYTES = 512;

/** Enciphers sectors of 512 bytes in place; the positions choose the initialisation vector. */
export interface SectorCipher {
  /** `length` and both positions are multiples of 512. */
  encrypt(
    buffer: Buffer,
    bufferOffset: number,
    length: number,
    storageOffset: number,
    guestOffset: number,
  ): void;
  decrypt(
    buffer: Buffer,
    bufferOffset: number,
    length: number,
    storageOffset: number,
    guestOffset: number,
  ): void;
}

/** A piece of the guest's disk that is stored compressed, as a whole. */
export interface CompressedUnit {
  /** Where the piece begins, and how long it is when decompressed. */
  readonly guestOffset: number;
  readonly unitBytes: number;
  readonly storage: Storage;
  readonly storageOffset: number;
  /** Never less than what is stored; what lies beyond the end of the storage reads as zeros. */
  readonly storedBytesMax: number;
  /**
   * Fills `dst`, of `unitBytes`, from `src`. Rejects with a TmemError `io` when the stored bytes do
   * not give exactly that; its work is bounded by the size of the two.
   */
  decompress(src: Buffer, dst: Buffer): Promise<void>;
}

/** A run of an image's bytes that a format keeps in one place. */
export type Mapping =
  | {
      readonly kind: 'data';
      /** Bytes from the offset that was asked for; at least 1. */
      readonly length: number;
      readonly storage: Storage;
      readonly storageOffset: number;
      readonly cipher?: SectorCipher | undefined;
    }
  | {
      /**
       * A zero is stored as such and hides the backing image. A hole is not stored at all: the
       * backing image shows through, or zeros where there is none.
       */
      readonly kind: 'zero' | 'hole';
      readonly length: number;
      /** Space is set aside for a zero, so that writing there takes no more. Default false. */
      readonly hasSpace?: boolean;
    }
  | {
      readonly kind: 'compressed';
      /** To the end of the unit, or less. */
      readonly length: number;
      readonly unit: CompressedUnit;
    };

/** Where a run of a write goes: over what is there, or into space that is new. */
export interface WriteTarget {
  /** Bytes of the run, from the offset that was asked for; at least 1. */
  readonly length: number;
  readonly storage: Storage;
  /** Where the guest byte `offset - headBytes` goes. */
  readonly storageOffset: number;
  readonly cipher?: SectorCipher | undefined;
  /**
   * Bytes in front of and behind the run that are new as well, and are written with it: what the
   * guest reads there now. Zero for a write in place.
   */
  readonly headBytes: number;
  readonly tailBytes: number;
  /**
   * All of it is written: from now on `map` finds it there. Absent for a write in place. Nothing is
   * made durable by it; see `WritableFormat.sync`.
   */
  commit?(): void | Promise<void>;
  /** The write failed before `commit`: the space is given back, the guest sees what was there. */
  abort?(): void;
}

/** How an image is laid out on its storages. */
export interface ImageFormat {
  readonly formatName: FormatName;
  /** Changes with `resize` alone. */
  readonly virtualSizeBytes: number;
  /** All storages that it maps to or keeps tables in, its own from then on; at least one. */
  readonly storages: readonly Storage[];
  /**
   * Requests enter and leave here, so that space that was given up is not used again while somebody
   * may still read or write it.
   */
  readonly epochs?: RequestEpochs | undefined;
  /** What its tables cost and how often they were there when wanted; undefined without a cache. */
  readonly tables?: TableStatistics | undefined;
  /** Bytes of memory that it holds besides these as long as it is open, at most; default none. */
  readonly pinnedBytes?: number | undefined;
  /**
   * Where the bytes at `offset` are; the run may be longer than `length`. A format answers with a
   * promise only when it must first read its own tables.
   */
  map(offset: number, length: number): Mapping | Promise<Mapping>;
  /** Checks the image while it is in use; repairs nothing. Undefined where that is not possible. */
  checkOnline?(options: OnlineCheckOptions): Promise<CheckReport>;
  /** Ends timers and marks the image as cleanly closed; storages are closed behind it. */
  close?(): Promise<void>;
}

/** A format whose images can be written. Calls for one range at a time may be under way at once. */
export interface WritableFormat extends ImageFormat {
  readonly isWritable: true;
  /** What can be made zero or given up without writing: a cluster, a grain; a power of two. */
  readonly unitBytes: number;
  /**
   * Where a write at `offset` goes. Two writes into one unit that is not there yet wait for each
   * other here. Every target is committed or aborted, in any order; one in place needs neither.
   */
  allocate(offset: number, length: number): WriteTarget | Promise<WriteTarget>;
  /**
   * The range, whole units (the last may be cut by the end of the disk), reads as zeros afterwards;
   * its space is given up where `mayDiscard`. False when that takes writing, and nothing was done.
   * `mustBeFast` is for formats that leave it to their storages: see `Storage.writeZeroes`.
   */
  zero(offset: number, length: number, mayDiscard: boolean, mustBeFast?: boolean): Promise<boolean>;
  /**
   * The range, whole units, is not needed any more. A format that can only do it by revealing what
   * the backing image holds, or that would fragment a pre-sized image, keeps what it has.
   */
  discard(offset: number, length: number): Promise<void>;
  /**
   * Everything committed before the call is on stable storage when this resolves: data, then
   * tables, in an order in which a crash at any moment only leaks space. At most two syncs.
   */
  sync(): Promise<void>;
  /** Whether a whole unit can be stored compressed, and how: see `writeCompressed`. */
  readonly compression?: 'deflate' | 'zstd' | undefined;
  /**
   * Takes only whole units through `writeCompressed`, each once, in the order of the disk: calls are
   * begun in that order, and may be under way at once. `allocate` always rejects.
   */
  readonly isAppendOnly?: boolean | undefined;
  /** Stores a whole unit (zero-padded at the end of the disk) compressed, or plain if that is less. */
  writeCompressed?(offset: number, unit: Buffer): Promise<void>;
  /**
   * Notes durably that there is no backing image any more: holes read as zeros. Whoever calls has
   * copied all that showed through. Undefined where a format can not say so of an image.
   */
  dropBacking?(): Promise<void>;
  /** Throws a TmemError `unsupported` for an image that cannot say so, though its format can. */
  checkMayDropBacking?(): void;
  /**
   * Changes the size of the guest's disk. A larger one is durable only with the next `sync`, behind
   * all that was written until then: who lets it grow hides what a longer backing image holds there.
   * Rejects with `unsupported` where that is not possible; back to the size before always is.
   */
  resize?(sizeBytes: number): Promise<void>;
}

/** Another file that an image names. Hostile until the gate has let it through. */
export interface ImageReference {
  readonly role: 'backing file' | 'data file' | 'extent' | 'parent';
  /** As the image says it. */
  readonly name: string;
  /** Undefined where the image does not say: then the operator must. */
  readonly formatName: FormatName | undefined;
  /** What a parent must be for the image to fit on it; a mismatch is refused. */
  readonly parentCid?: number | undefined;
  /** What it may be as well: a commit into the parent was about to change it. */
  readonly parentCidNext?: number | undefined;
  /** What the file was when the image was made on it: one that has changed since is refused. */
  readonly stamp?: ReferenceStamp | undefined;
}

/** Size and time of the last change of a file, milliseconds since 1970. */
export interface ReferenceStamp {
  readonly sizeBytes: number;
  readonly changedAtMs: number;
}

/** What a format is told when an image is opened. */
export interface OpenOptions {
  readonly isReadOnly: boolean;
  /** Bytes of tables that may be held in memory. */
  readonly tableBytesMax: number;
  /** Bytes of tables that are in memory as a whole; an image with more is refused. Default all. */
  readonly pinnedBytesMax?: number | undefined;
  /** Opens a file that the image names; the gate decides. Rejects with a TmemError. */
  openFile(reference: ImageReference): Promise<ResizableStorage>;
  /** The passphrase of an enciphered image; undefined when none was given. */
  readonly passphrase?: Buffer | undefined;
  /** Which internal snapshot, by name or id, to open read-only; undefined for the active disk. */
  readonly snapshot?: string | undefined;
  /**
   * The file has no name yet, and its syncs cost nothing: tables are made when they are needed, so
   * that it is no longer than what is in it. Default false.
   */
  readonly isUnplaced?: boolean | undefined;
  /**
   * Waited for before the image says of itself that its content is another, which images on top of
   * it refuse: `from` is the number that it says until then, `to` the one that follows.
   */
  onContentChange?(from: number, to: number): Promise<void>;
}

/** An open format, and what it says that it stands on. */
export interface OpenedFormat {
  readonly format: ImageFormat | WritableFormat;
  readonly backing?: ImageReference | undefined;
}

/** A wish for a new image. Sizes are bytes; what a format has no use for must be undefined. */
export interface PlanOptions {
  readonly sizeBytes: number;
  readonly backing?: ImageReference | undefined;
  /** As `-o name=value` says them, checked by the format: an unknown one is a usage error. */
  readonly settings: Readonly<Record<string, string>>;
  readonly passphrase?: Buffer | undefined;
}

/** The same, to be carried out. */
export interface CreateOptions extends PlanOptions {
  /**
   * The base name that the image will have, where that is not the storage's: an image that names
   * itself, or files beside it, says this one. They are made with `createFile` under final names.
   */
  readonly fileName?: string | undefined;
  /** Makes another file beside the image, for extents and data files; never over an old one. */
  createFile(name: string): Promise<ResizableStorage>;
}

/** Of all files of an image; bytes. */
export interface PlannedSize {
  /** Without any content, but with all the tables that there can be. */
  readonly tableBytes: number;
  /** What content can take besides. */
  readonly contentBytes: number;
  /** What content comes in. */
  readonly unitBytes: number;
  /** Whether the space for all content is there from the start. */
  readonly isHeld: boolean;
}

/** What is to be known of an image without opening anything that it names. */
export interface ImageInfo {
  readonly formatName: FormatName;
  readonly virtualSizeBytes: number;
  readonly unitBytes?: number | undefined;
  readonly backing?: ImageReference | undefined;
  /** Extents, data files. */
  readonly references: readonly ImageReference[];
  readonly isEncrypted: boolean;
  readonly isDirty: boolean;
  readonly isCorrupt: boolean;
  readonly snapshots: readonly SnapshotInfo[];
  /** What the format alone has, in its own words: versions, features, widths. */
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

export interface SnapshotInfo {
  readonly id: string;
  readonly name: string;
  readonly sizeBytes: number;
  /** Seconds since 1970. */
  readonly createdAt: number;
}

/** How a check is done. */
export interface CheckOptions {
  /** `leaks` gives leaked space back; `all` mends what can be mended without losing data. */
  readonly repair?: 'leaks' | 'all' | undefined;
  readonly openFile: OpenOptions['openFile'];
  /** Hears of units done, of how many; may be called often. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How a check goes on beside the image's use. */
export interface OnlineCheckOptions {
  /** Hears of parts done, of how many; may be called often. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CheckFinding {
  readonly kind: 'corruption' | 'leak' | 'error';
  /** One sentence, with offsets. */
  readonly message: string;
  readonly isRepaired: boolean;
}

/** What a check found; counts are what is left after a repair. */
export interface CheckReport {
  readonly formatName: FormatName;
  readonly corruptions: number;
  readonly leaks: number;
  /** Tables that could not be read. */
  readonly errors: number;
  readonly corruptionsFixed: number;
  readonly leaksFixed: number;
  readonly totalUnits: number;
  readonly allocatedUnits: number;
  readonly compressedUnits: number;
  readonly fragmentedUnits: number;
  readonly imageEndOffset: number;
  /** The first of them, at most 1,000. */
  readonly findings: readonly CheckFinding[];
}

/** One format: how its images are opened, made, looked at and checked. */
export interface FormatDriver {
  readonly formatName: FormatName;
  open(storage: ResizableStorage, options: OpenOptions): Promise<OpenedFormat>;
  /** Never opens what the image names. */
  info(storage: ResizableStorage): Promise<ImageInfo>;
  /** Writes a new image into an empty storage; undefined for what can only be read. */
  create?(storage: ResizableStorage, options: CreateOptions): Promise<void>;
  /**
   * How large the files of such an image would be, told without making it; undefined where making it
   * tells as soon. Throws for settings that cannot be.
   */
  measure?(options: PlanOptions): Promise<PlannedSize>;
  /** Whether such an image is written once, from front to back, and is as long as that makes it. */
  isStream?(settings: CreateOptions['settings']): boolean;
  /**
   * Durably writes into a closed image what it stands on; nothing of its content changes. Undefined
   * where that is not possible.
   */
  rebase?(storage: ResizableStorage, backing: ImageReference): Promise<void>;
  /** Undefined for formats without tables. */
  check?(storage: ResizableStorage, options: CheckOptions): Promise<CheckReport>;
}

export function isWritableFormat(format: ImageFormat): format is WritableFormat {
  return 'isWritable' in format && format.isWritable === true;
}
