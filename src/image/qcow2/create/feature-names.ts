/** The table of feature names that new images carry, for programs that do not know a feature. */

const RECORD_BYTES = 48;

/** Kind 0 is incompatible, 1 compatible, 2 autoclear. */
const NAMES = [
  [0, 0, 'dirty bit'],
  [0, 1, 'corrupt bit'],
  [0, 2, 'external data file'],
  [0, 3, 'compression type'],
  [0, 4, 'extended L2 entries'],
  [1, 0, 'lazy refcounts'],
  [2, 0, 'bitmaps'],
  [2, 1, 'raw external data'],
] as const;

/** The bytes of the extension `featureNames`. */
export const FEATURE_NAMES = encode();

function encode(): Buffer {
  const bytes = Buffer.alloc(NAMES.length * RECORD_BYTES);
  for (const [index, [kind, bit, name]] of NAMES.entries()) {
    const at = index * RECORD_BYTES;
    bytes.writeUInt8(kind, at);
    bytes.writeUInt8(bit, at + 1);
    bytes.write(name, at + 2, RECORD_BYTES - 2, 'latin1');
  }
  return bytes;
}
