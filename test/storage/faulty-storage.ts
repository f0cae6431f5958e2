/** A storage that a test can make fail, wait or fall short, one request at a time. */

import { TmemError } from '../../src/lib/errors.ts';
import type { Storage, StorageCapabilities, StorageExtent } from '../../src/storage/storage.ts';

/** Runs before a request reaches the storage inside; throwing fails it, a promise delays it. */
export type Hook = (offset: number, length: number) => void | Promise<void>;

/** The requests that can be counted and troubled. */
export type FaultyOperation = 'read' | 'write' | 'sync' | 'discard' | 'writeZeroes' | 'extent';

/** A request that was held back. */
export interface Hold {
  /** Resolves when the request has arrived, to what it asks for. */
  readonly arrived: Promise<{ offset: number; length: number }>;
  /** Lets the request go on, or fail with what is given. */
  release(failure?: Error): void;
}

/** Wraps a storage; without hooks, failures or holds it behaves as the one inside. */
export class FaultyStorage implements Storage {
  readonly inner: Storage;
  /** Requests that arrived, failed ones too. */
  readonly requests: Record<FaultyOperation, number> = {
    read: 0,
    write: 0,
    sync: 0,
    discard: 0,
    writeZeroes: 0,
    extent: 0,
  };
  /** Run for every request that nothing was planned for. */
  onRead: Hook | undefined;
  onWrite: Hook | undefined;
  onWriteZeroes: Hook | undefined;
  onSync: Hook | undefined;
  readonly #planned: Record<FaultyOperation, (Hook | 'short')[]> = {
    read: [],
    write: [],
    sync: [],
    discard: [],
    writeZeroes: [],
    extent: [],
  };

  constructor(inner: Storage) {
    this.inner = inner;
  }

  get name(): string {
    return this.inner.name;
  }
  get sizeBytes(): number {
    return this.inner.sizeBytes;
  }
  get isReadOnly(): boolean {
    return this.inner.isReadOnly;
  }
  get alignmentBytes(): number {
    return this.inner.alignmentBytes;
  }
  get supports(): StorageCapabilities {
    return this.inner.supports;
  }

  /** Fails the next `count` requests of a kind, which then do nothing. */
  failNext(operation: FaultyOperation, code: 'EIO' | 'ENOSPC' = 'EIO', count = 1): void {
    for (let index = 0; index < count; index++) {
      this.#planned[operation].push(() => {
        throw injected(operation, code);
      });
    }
  }

  /** Makes the next `count` reads or writes move the first half of their bytes, and fail. */
  shortNext(operation: 'read' | 'write', count = 1): void {
    for (let index = 0; index < count; index++) this.#planned[operation].push('short');
  }

  /** Holds the next request of a kind back until it is released. */
  holdNext(operation: FaultyOperation): Hold {
    const arrival = deferred<{ offset: number; length: number }>();
    const released = deferred<void>();
    // A test may release the request before it has arrived and is waiting.
    released.promise.catch(() => {});
    this.#planned[operation].push((offset, length) => {
      arrival.resolve({ offset, length });
      return released.promise;
    });
    const release = (failure?: Error) => {
      if (failure === undefined) released.resolve();
      else released.reject(failure);
    };
    return { arrived: arrival.promise, release };
  }

  async read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    const isShort = await this.#pass('read', offset, length, this.onRead);
    await this.inner.read(buffer, bufferOffset, isShort ? length >> 1 : length, offset);
    if (isShort) throw injected('read', 'EIO');
  }

  async write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    const isShort = await this.#pass('write', offset, length, this.onWrite);
    await this.inner.write(buffer, bufferOffset, isShort ? length >> 1 : length, offset);
    if (isShort) throw injected('write', 'EIO');
  }

  async sync(): Promise<void> {
    await this.#pass('sync', 0, this.sizeBytes, this.onSync);
    await this.inner.sync();
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#pass('discard', offset, length);
    await this.inner.discard(offset, length);
  }

  async writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast = false,
  ): Promise<void> {
    await this.#pass('writeZeroes', offset, length, this.onWriteZeroes);
    await this.inner.writeZeroes(offset, length, mayDiscard, mustBeFast);
  }

  async extent(offset: number, length: number): Promise<StorageExtent> {
    await this.#pass('extent', offset, length);
    return this.inner.extent(offset, length);
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  /** Does what was planned for this request; true when it must fall short. */
  async #pass(
    operation: FaultyOperation,
    offset: number,
    length: number,
    hook?: Hook,
  ): Promise<boolean> {
    this.requests[operation]++;
    const planned = this.#planned[operation].shift() ?? hook;
    if (planned === 'short') return true;
    await planned?.(offset, length);
    return false;
  }
}

function injected(operation: string, code: 'EIO' | 'ENOSPC'): TmemError {
  const kind = code === 'EIO' ? 'io' : 'no-space';
  return new TmemError(kind, `cannot ${operation}: ${code}, injected by a test; expect it`, {
    context: { code },
  });
}

function deferred<Value>() {
  let resolve: (value: Value) => void = () => {};
  let reject: (failure: Error) => void = () => {};
  const promise = new Promise<Value>((onValue, onFailure) => {
    resolve = onValue;
    reject = onFailure;
  });
  return { promise, resolve, reject };
}
