/**
 * Damages images where it hurts: fields of headers, entries of tables, counters, lengths. What a
 * format's regions are is told by whoever has a corpus of it; the values that are put there are
 * those that parsers stumble over. One seed gives one damage, on every machine.
 */

/** A part of an image whose numbers mean something. */
export interface ImageRegion {
  readonly name: string;
  readonly offset: number;
  readonly length: number;
  /** Bytes of one number. */
  readonly wordBytes: 1 | 2 | 4 | 8;
}

/** A good image to damage. */
export interface CorpusImage {
  readonly name: string;
  readonly bytes: Buffer;
  readonly regions: readonly ImageRegion[];
  readonly isLittleEndian?: boolean;
  /** Makes checksums right again after the damage, which they would hide else. */
  readonly seal?: (bytes: Buffer) => void;
}

export interface Damage {
  readonly bytes: Buffer;
  /** What was done, for the message of a failing test. */
  readonly what: string;
}

/** Numbers from 0 to 2^32 - 1, the same for one seed (mulberry32, public domain). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** How many mutations a test does: few by default, `TMEM_FUZZ_IMAGES` in the long mode. */
export function mutationCount(usual: number): number {
  return Number(process.env.TMEM_FUZZ_IMAGES ?? usual);
}

/** A copy of one of the images with one to three damages. */
export function damage(corpus: readonly CorpusImage[], seed: number): Damage {
  const random = randomNumbers(seed);
  const image = pick(corpus, random);
  let bytes: Buffer = Buffer.from(image.bytes);
  const done: string[] = [];
  const times = 1 + (random() % 4 === 0 ? random() % 3 : 0);
  for (let time = 0; time < times; time++) {
    const kind = random() % 20;
    if (kind === 0) {
      const length = random() % (bytes.length + 1);
      bytes = bytes.subarray(0, length);
      done.push(`cut to ${length}`);
    } else if (kind === 1 && bytes.length > 0) {
      const at = random() % bytes.length;
      bytes[at]! ^= 1 << (random() % 8);
      done.push(`bit at ${at}`);
    } else {
      done.push(damageNumber(image, bytes, random));
    }
  }
  image.seal?.(bytes);
  return { bytes, what: `seed ${seed}, ${image.name}: ${done.join('; ')}` };
}

function damageNumber(image: CorpusImage, bytes: Buffer, random: () => number): string {
  const region = pick(image.regions, random);
  const { offset, length, wordBytes, name } = region;
  const words = Math.floor(length / wordBytes);
  const at = offset + wordBytes * liveWord(image.bytes, region, words, random);
  if (at + wordBytes > bytes.length) return `nothing in ${name}`;
  const old = readWord(bytes, at, region, image);
  const next = BigInt.asUintN(wordBytes * 8, newValue(old, bytes, region, image, random));
  writeWord(bytes, at, next, region, image);
  return `${name} at ${at}: ${old.toString(16)} to ${next.toString(16)}`;
}

/** Tables are mostly empty, and damage is found where they are not: those are tried thrice. */
function liveWord(bytes: Buffer, region: ImageRegion, words: number, random: () => number): number {
  const { offset, wordBytes } = region;
  let word = 0;
  for (let attempt = 0; attempt < 8; attempt++) {
    word = random() % words;
    const at = offset + word * wordBytes;
    if (bytes.subarray(at, at + wordBytes).some((byte) => byte !== 0)) break;
  }
  return word;
}

function newValue(
  old: bigint,
  bytes: Buffer,
  region: ImageRegion,
  image: CorpusImage,
  random: () => number,
): bigint {
  const { offset, length, wordBytes } = region;
  const place = BigInt(random() % (bytes.length + 1));
  const choices: (() => bigint)[] = [
    () => 0n,
    () => 1n,
    () => -1n,
    () => old + 1n,
    () => old - 1n,
    () => old * 2n,
    () => old ^ (1n << BigInt(random() % (wordBytes * 8))),
    () => old ^ (1n << BigInt(random() % (wordBytes * 8))),
    () => old ^ (1n << BigInt(wordBytes * 8 - 1 - (random() % 4))),
    () => (1n << BigInt(random() % (wordBytes * 8))) - 1n,
    () => 1n << BigInt(random() % (wordBytes * 8)),
    () => place,
    () => (place >> 9n) << 9n,
    () => (place >> 12n) << 12n,
    () => (place >> 16n) << 16n,
    () => BigInt(bytes.length),
    () => BigInt(random()),
    () => (BigInt(random()) << 32n) | BigInt(random()),
    () => {
      const other = random() % Math.floor(length / wordBytes);
      return readWord(image.bytes, offset + other * wordBytes, region, image);
    },
  ];
  return pick(choices, random)();
}

function readWord(bytes: Buffer, at: number, { wordBytes }: ImageRegion, image: CorpusImage) {
  const word = Buffer.from(bytes.subarray(at, at + wordBytes));
  if (image.isLittleEndian === true) word.reverse();
  return BigInt(`0x0${word.toString('hex')}`);
}

function writeWord(
  bytes: Buffer,
  at: number,
  value: bigint,
  { wordBytes }: ImageRegion,
  image: CorpusImage,
): void {
  const word = Buffer.from(value.toString(16).padStart(wordBytes * 2, '0'), 'hex');
  if (image.isLittleEndian === true) word.reverse();
  word.copy(bytes, at);
}

function pick<T>(list: readonly T[], random: () => number): T {
  const item = list[random() % list.length];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}
