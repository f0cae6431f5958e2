/** Pages of every kind that a layer tells apart, each different from every other version. */

/** All zeros; one repeated word; a block of some bytes; about half its size; incompressible. */
export const PAGE_KINDS = ['zero', 'filled', 'tiny', 'half', 'random'] as const;
export type PageKind = (typeof PAGE_KINDS)[number];

const NOISE_BYTES = 1 << 18;
const noise = makeNoise();
const word = Buffer.alloc(4);

/** Writes a page of that kind and version to `page`, all of it. Zero pages have no version. */
export function writePage(page: Buffer, kind: PageKind, version: number): Buffer {
  if (kind === 'zero') return page.fill(0);
  if (kind === 'filled') {
    word.writeUInt32LE(version + 1); // not zero
    return page.fill(word);
  }
  page.fill(`page of version ${version}. `);
  if (kind === 'tiny') return page;
  const noisy = kind === 'half' ? page.length / 2 : page.length;
  const from = (version * 4099) % (NOISE_BYTES - page.length);
  noise.copy(page, 0, from, from + noisy);
  page.writeDoubleLE(version, 0);
  return page;
}

/** A new page of that kind and version. */
export function pageOf(pageBytes: number, kind: PageKind, version: number): Buffer {
  return writePage(Buffer.allocUnsafe(pageBytes), kind, version);
}

function makeNoise(): Buffer {
  const words = new Int32Array(NOISE_BYTES / 4);
  let x = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return Buffer.from(words.buffer);
}
