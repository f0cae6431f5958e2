/** What can be said of an encoded page without decoding it. */

import { TmemError } from '../lib/errors.ts';
import { type EncodedPage, FILLED, LZ4, RAW } from './layer.ts';

const FILLED_BYTES = 4;

/** Throws `usage` unless this may be a page of `pageBytes`, encoded, inside its buffer. */
export function checkEncoded(page: EncodedPage, pageBytes: number): void {
  const { encoding, buffer, offset, length } = page;
  if (encoding !== RAW && encoding !== LZ4 && encoding !== FILLED) {
    throw new TmemError('usage', `there is no encoding ${encoding}; see RAW, LZ4 and FILLED`);
  }
  if (!Buffer.isBuffer(buffer)) throw noBuffer();
  const lengthMax = encoding === FILLED ? FILLED_BYTES : pageBytes;
  const lengthMin = encoding === LZ4 ? 1 : lengthMax;
  if (!(Number.isInteger(length) && length >= lengthMin && length <= lengthMax)) {
    throw new TmemError(
      'usage',
      `a page of ${pageBytes} bytes is not encoded in ${length} bytes; put it raw instead`,
    );
  }
  if (!(Number.isSafeInteger(offset) && offset >= 0 && offset + length <= buffer.length)) {
    throw new TmemError(
      'usage',
      `${length} bytes at offset ${offset} do not lie inside a buffer of ${buffer.length} bytes`,
    );
  }
}

/** The failure of a caller without types: the layers read and write as only Buffers can. */
export function noBuffer(): TmemError {
  return new TmemError(
    'usage',
    'pages lie in Buffers; make one of an array with Buffer.from(array.buffer, array.byteOffset, array.length)',
  );
}
