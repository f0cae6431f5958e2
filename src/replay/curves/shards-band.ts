/** A SHARDS curve that knows how far it may be off. */

import { bandOf, type MissRatioBand, type MissRatioCurve } from '../../curves/curve.ts';
import { FixedSizeShards, SHARDS_SAMPLES, type ShardsOptions } from '../../curves/shards.ts';

/** Disjoint classes of keys, told by the lowest bits of their hash; `bandOf` is made for four. */
const CLASSES = 4;
const CLASS_MASK = CLASSES - 1;

/**
 * One sample of all keys, and in each of four disjoint classes of keys one of a quarter of its
 * size: how far the four are apart says how uncertain the one is. A running service may keep one:
 * `note` is synchronous and allocates nothing. Memory is about 1.1 MiB for 8,192 samples.
 */
export class BandedShards implements MissRatioCurve {
  private readonly whole: FixedSizeShards;
  private readonly classes: readonly FixedSizeShards[];
  private readonly epochReferences: number;
  private epochLeft: number;

  /** `samples` is a power of two, at least 16. */
  constructor(options: Omit<ShardsOptions, 'share'> = {}) {
    const { samples = SHARDS_SAMPLES, epochReferences = 0 } = options;
    this.whole = new FixedSizeShards({ samples });
    this.classes = Array.from(
      { length: CLASSES },
      () => new FixedSizeShards({ samples: samples / CLASSES, share: 1 / CLASSES }),
    );
    this.epochReferences = epochReferences;
    this.epochLeft = epochReferences;
  }

  get references(): number {
    return this.whole.references;
  }

  /** The share of the keys that is followed now. */
  get rate(): number {
    return this.whole.rate;
  }

  /** Distinct keys noted since the start, by estimate. */
  get footprint(): number {
    return this.whole.footprint;
  }

  /** Notes a reference of the key with this u32 hash, which must be well mixed. */
  note(keyHash: number): void {
    this.whole.note(keyHash);
    this.classes[keyHash & CLASS_MASK]!.note(keyHash);
    if (this.epochReferences > 0 && --this.epochLeft === 0) this.halve();
  }

  /** Halves the weight of all that was noted so far, which ends an epoch. */
  halve(): void {
    this.epochLeft = this.epochReferences;
    this.whole.halve();
    for (const each of this.classes) each.halve();
  }

  missRatioAt(pages: number): number {
    return this.whole.missRatioAt(pages);
  }

  /** The miss ratio and its band; see `bandOf`. */
  bandAt(pages: number): MissRatioBand {
    const ofClasses = this.classes.map((each) => {
      each.references = this.whole.references;
      return each.missRatioAt(pages);
    });
    return bandOf(this.whole.missRatioAt(pages), ofClasses);
  }
}
