/**
 * Pools that several clients have in common: who may join which, who did, and whose pages go when
 * one of them leaves.
 *
 * Source: shared ephemeral pools of Xen's tmem, by name and with an explicit authorisation.
 */

import { TmemError } from '../lib/errors.ts';
import type { PoolDescription } from './layer.ts';

const NAME_LENGTH_MAX = 256;
/** Objects of a shared pool whose last toucher is remembered; the oldest goes with its pages. */
const TOUCHED_OBJECT_COUNT_MAX = 65_536;

/** What a pool that may be shared is asked to be. */
interface SharedOptions {
  readonly kind: 'ephemeral' | 'persistent';
  readonly sharedName?: string;
  readonly client?: string;
}

/** The pages that sharers have in common. */
export class SharedPool<Sharer> {
  readonly description: PoolDescription;
  readonly sharers = new Set<Sharer>();
  /** By object: the sharer that touched it last. Its pages go when that sharer leaves. */
  readonly lastTouchers = new Map<number, Sharer>();

  constructor(description: PoolDescription) {
    this.description = description;
  }

  /** The sharer used the object; answers one that is to be flushed since too many are known. */
  touch(object: number, sharer: Sharer): number | undefined {
    const { lastTouchers } = this;
    lastTouchers.delete(object); // what is set anew goes to the end
    lastTouchers.set(object, sharer);
    if (lastTouchers.size <= TOUCHED_OBJECT_COUNT_MAX) return undefined;
    for (const oldest of lastTouchers.keys()) {
      lastTouchers.delete(oldest);
      return oldest;
    }
    return undefined;
  }

  /** Objects that the sharer, who leaves, touched last. */
  forget(sharer: Sharer): number[] {
    const objects: number[] = [];
    for (const [object, toucher] of this.lastTouchers) if (toucher === sharer) objects.push(object);
    for (const object of objects) this.lastTouchers.delete(object);
    return objects;
  }
}

/** The shared pools of a stack, by name, and who may join them. */
export class SharedPools<Sharer> {
  readonly #pools = new Map<string, SharedPool<Sharer>>();
  readonly #grants = new Set<string>();

  authorise(client: string, sharedName: string): void {
    this.#grants.add(JSON.stringify([client, sharedName]));
  }

  revoke(client: string, sharedName: string): void {
    this.#grants.delete(JSON.stringify([client, sharedName]));
  }

  /**
   * The pool of the name asked for, made if there is none; undefined when no name is given, or the
   * client is not authorised for it. Throws `usage` for options that go against the rules.
   */
  join(
    options: SharedOptions,
    pageBytes: number,
    describe: () => PoolDescription,
  ): SharedPool<Sharer> | undefined {
    const { sharedName: name, client = '' } = options;
    if (name === undefined) return undefined;
    if (options.kind === 'persistent') {
      throw new TmemError('usage', 'a pool is shared or persistent, not both');
    }
    if (name.length === 0 || name.length > NAME_LENGTH_MAX) {
      throw new TmemError('usage', `a shared pool's name has 1 to ${NAME_LENGTH_MAX} characters`);
    }
    if (!this.#grants.has(JSON.stringify([client, name]))) return undefined;
    let shared = this.#pools.get(name);
    if (shared === undefined) {
      shared = new SharedPool(describe());
      this.#pools.set(name, shared);
    }
    if (shared.description.pageBytes !== pageBytes) {
      throw new TmemError(
        'usage',
        `shared pool ${JSON.stringify(name)} has pages of ${shared.description.pageBytes} bytes, ` +
          `not ${pageBytes}`,
      );
    }
    return shared;
  }

  /** The last sharer of the pool has left. */
  forget(shared: SharedPool<Sharer>): void {
    for (const [name, each] of this.#pools) if (each === shared) this.#pools.delete(name);
  }
}
