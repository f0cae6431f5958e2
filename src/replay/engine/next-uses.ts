/**
 * When each page of a stream is used next: what Belady's policy is told. Found from the end of the
 * stream to its beginning, and read from the beginning to the end: of a long stream it is a file,
 * of which a simulation has a part in memory.
 */
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { kindOfSystemError, systemErrorCode, TmemError } from '../../lib/errors.ts';
import { NEVER_USED } from '../../policy/belady.ts';
import type { Trace } from '../../trace/trace.ts';
import type { PageStream } from './page-stream.ts';
import { bitAt, dropBitsOf } from './write-bits.ts';

/** A stream of more accesses than this has its next uses in a file: 16 MiB. */
const IN_MEMORY_MAX = 1 << 22;
/** What is found, and written, at once. */
const PART = 1 << 20;
const ENTRY_BYTES = 4;

/** By index of the stream; in memory, or in a file without a name. Plain data, as threads send. */
export type NextUses = Int32Array | { readonly fd: number };

/**
 * By index of the stream: the index of the next access to the same page, or `NEVER_USED` if there
 * is none, or if it is dropped first. On shared memory; 4 bytes a request. Throws a usage error for
 * a stream that came through a pipe, whose future no second reading can confirm.
 */
export function nextUsesOf(stream: PageStream): Int32Array {
  const all = new Int32Array(new SharedArrayBuffer(stream.requestCount * ENTRY_BYTES));
  findNextUses(stream, (from, to) => all.subarray(from, to));
  return all;
}

/**
 * The same, in a file of the system's folder for temporary files if they are more than `inMemoryMax`.
 * Whoever has it closes it with `closeNextUses`. Throws an error that names the folder if there is no
 * room in it.
 */
export function keptNextUsesOf(stream: PageStream, inMemoryMax = IN_MEMORY_MAX): NextUses {
  if (stream.requestCount <= inMemoryMax) return nextUsesOf(stream);
  const fd = openNameless();
  try {
    const part = new Int32Array(PART);
    findNextUses(
      stream,
      (from, to) => part.subarray(0, to - from),
      (found, from) => writePart(fd, found, from),
    );
    return { fd };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Gives a file back; nothing may read from it afterwards. */
export function closeNextUses(nextUses: NextUses | undefined): void {
  if (nextUses !== undefined && 'fd' in nextUses) closeSync(nextUses.fd);
}

/** Reads next uses part by part. */
export class NextUsesReader {
  private readonly nextUses: NextUses;
  private part = new Int32Array(0);

  constructor(nextUses: NextUses) {
    this.nextUses = nextUses;
  }

  /** Those from one index to before another; valid until the next call. */
  read(from: number, to: number): Int32Array {
    const { nextUses } = this;
    if (!('fd' in nextUses)) return nextUses.subarray(from, to);
    if (this.part.length < to - from) this.part = new Int32Array(to - from);
    const found = this.part.subarray(0, to - from);
    const bytes = bytesOf(found);
    for (let done = 0; done < bytes.length; ) {
      const count = readSync(nextUses.fd, bytes, {
        offset: done,
        position: from * ENTRY_BYTES + done,
      });
      if (count === 0) throw new TmemError('io', `a temporary file in ${tmpdir()} became shorter`);
      done += count;
    }
    return found;
  }
}

/** Throws a usage error for a trace that came through a pipe, whose future nobody can confirm. */
export function refusePipe({ name, canRereads }: Pick<Trace, 'name' | 'canRereads'>): void {
  if (canRereads) return;
  throw new TmemError(
    'usage',
    `belady has to know the whole of ${name} before it begins, and a pipe can be read once; ` +
      'save the trace to a file, or leave belady out',
  );
}

/** From the last part to the first: `partOf` gives memory for it, `onPart` is told when it is full. */
function findNextUses(
  stream: PageStream,
  partOf: (from: number, to: number) => Int32Array,
  onPart: (found: Int32Array, from: number) => void = () => {},
): void {
  refusePipe({ name: stream.traceName, canRereads: stream.canRereads });
  const { ids, pageCount, requestCount } = stream;
  const drops = dropBitsOf(stream);
  const nextByPage = new Int32Array(pageCount).fill(NEVER_USED);
  for (let to = requestCount; to > 0; ) {
    const from = Math.max(0, to - PART);
    const part = partOf(from, to);
    for (let i = to - 1; i >= from; i--) {
      const id = ids[i]!;
      part[i - from] = nextByPage[id]!;
      const isDrop = drops !== undefined && bitAt(drops, i);
      nextByPage[id] = isDrop ? NEVER_USED : i;
    }
    onPart(part, from);
    to = from;
  }
}

/** A file that is gone when it is closed, whatever happens to the process. */
function openNameless(): number {
  const path = join(tmpdir(), `tmem-next-uses-${Date.now()}-${threadId}-${Math.random()}`);
  try {
    const fd = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    return fd;
  } catch (cause) {
    throw failure(cause);
  }
}

function writePart(fd: number, part: Int32Array, from: number): void {
  const bytes = bytesOf(part);
  try {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(fd, bytes, done, bytes.length - done, from * ENTRY_BYTES + done);
    }
  } catch (cause) {
    throw failure(cause);
  }
}

function failure(cause: unknown): TmemError {
  return new TmemError(
    kindOfSystemError(cause),
    `belady needs room for a temporary file, 4 bytes an access, and ${tmpdir()} cannot hold it ` +
      `(${systemErrorCode(cause)}); set TMPDIR to another folder, or leave belady out`,
    { cause },
  );
}

function bytesOf({ buffer, byteOffset, byteLength }: Int32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
