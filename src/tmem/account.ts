/**
 * Accounts: who is charged for pages. Every pool belongs to one, and several pools may share one:
 * the clean and the dirty pages of an export do. What an account may take is said by a weight (its
 * part of the memory when it is short), a cap and a minimum.
 *
 * Source: the client weights of Xen's tmem, with the comparison the right way round.
 */

import { TmemError } from '../lib/errors.ts';
import { statedSize } from '../lib/sizes.ts';

/** The weight of an account that was given none. */
const WEIGHT_DEFAULT = 100;
const WEIGHT_MAX = 10_000;

/** What an account may take of the memory, all layers together. */
export interface AccountShare {
  /** Its part of the memory, against the weights of the others that hold pages; 1 to 10,000. */
  readonly weight?: number;
  /** It never has more bytes than that. Infinity for no cap. */
  readonly capBytes?: number;
  /** While it has no more bytes than that, others lose pages first. */
  readonly minimumBytes?: number;
}

export interface AccountOptions extends AccountShare {
  /** For people: metrics and lists show it. Need not be unique. */
  readonly name: string;
}

export class Account {
  readonly name: string;
  /** Bytes charged for its pages in all layers: what their data takes in slabs, and metadata. */
  usedBytes = 0;
  /** Its pages in all layers; one that lies in two of them counts twice. */
  pages = 0;
  /**
   * Pages that others gave or went without since the start, because those of this account that had to go
   * first are nowhere else; counted up, once in each layer.
   */
  owedPages = 0;
  #weight = WEIGHT_DEFAULT;
  #capBytes = Number.POSITIVE_INFINITY;
  #minimumBytes = 0;

  /** Throws `usage` for a weight, cap or minimum out of range. */
  constructor(options: AccountOptions) {
    this.name = options.name;
    this.setShare(options);
  }

  get weight(): number {
    return this.#weight;
  }

  get capBytes(): number {
    return this.#capBytes;
  }

  get minimumBytes(): number {
    return this.#minimumBytes;
  }

  /**
   * Changes what is given; it counts from the next put on. Throws `usage` for values out of range,
   * and then changes nothing.
   */
  setShare(share: AccountShare): void {
    const weight = share.weight ?? this.#weight;
    const capBytes = share.capBytes ?? this.#capBytes;
    const minimumBytes = share.minimumBytes ?? this.#minimumBytes;
    if (!(Number.isInteger(weight) && weight >= 1 && weight <= WEIGHT_MAX)) {
      throw new TmemError('usage', `a weight is an integer from 1 to ${WEIGHT_MAX}, not ${weight}`);
    }
    if (!(capBytes >= 0)) {
      throw new TmemError('usage', `a cap is a number of bytes from 0 on, not ${capBytes}`);
    }
    if (!(minimumBytes >= 0)) {
      throw new TmemError('usage', `a minimum is a number of bytes from 0 on, not ${minimumBytes}`);
    }
    if (minimumBytes > capBytes) {
      const sentence = `a minimum of ${statedSize(minimumBytes)} is more than the cap`;
      throw new TmemError('usage', `${sentence}, ${statedSize(capBytes)}; choose less`);
    }
    this.#weight = weight;
    this.#capBytes = capBytes;
    this.#minimumBytes = minimumBytes;
  }

  /** A layer holds one more page of it, of so many bytes, or one less where that is below 0. */
  charge(bytes: number): void {
    this.usedBytes += bytes;
    this.pages += Math.sign(bytes);
  }
}

/** What one pool is charged for, of what its account is, in all layers. */
export class PoolUsage {
  usedBytes = 0;
  /** One that lies in two layers counts twice. */
  pages = 0;

  /** A layer holds one more page of it, of so many bytes, or one less where that is below 0. */
  charge(bytes: number): void {
    this.usedBytes += bytes;
    this.pages += Math.sign(bytes);
  }
}
