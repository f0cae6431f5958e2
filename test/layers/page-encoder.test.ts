import { describe, expect, it } from 'vitest';
import { CODEC_CHOICES, loadCodec } from '../../src/layers/codec.ts';
import { PageEncoder } from '../../src/layers/page-encoder.ts';
import { type Encoding, FILLED, LZ4, RAW } from '../../src/tmem/layer.ts';
import { pageOf } from '../tmem/page-content.ts';

const SIZES = [4096, 8192, 16384, 32768, 65536];

describe.each(CODEC_CHOICES)('pages encoded by %s', (choice) => {
  const encoder = new PageEncoder(loadCodec(choice), 65536);

  /** Encodes the page that lies three bytes into a buffer; answers how, and a copy of what came out. */
  function encode(page: Buffer): { encoding: Encoding; encoded: Buffer } {
    const src = Buffer.concat([Buffer.alloc(3, 1), page, Buffer.alloc(3, 2)]);
    const encoding = encoder.encode(src, 3, page.length);
    return { encoding, encoded: Buffer.from(encoder.encoded.subarray(0, encoder.length)) };
  }

  function expectEncoded(page: Buffer, wanted: Encoding, bytes: Buffer): void {
    const { encoding, encoded } = encode(page);
    expect([encoding, encoded.equals(bytes)]).toEqual([wanted, true]);
  }

  it.each(SIZES)(
    'of %i bytes are four bytes, a block that is worth it, or as they are',
    (bytes) => {
      const filled = Buffer.alloc(bytes, 'word');
      expectEncoded(filled, FILLED, Buffer.from('word'));
      const text = Buffer.alloc(bytes, 'no four bytes repeat in this. ');
      const { encoding, encoded } = encode(text);
      expect(encoding).toBe(LZ4);
      expect(encoded.length).toBeLessThan(bytes / 8);
      const noise = pageOf(bytes, 'random', 1);
      expectEncoded(noise, RAW, noise);
      // A part of 1/16 is what a block must save; of this page nothing but its last 1/32 is saved.
      const nearly = Buffer.concat([noise.subarray(bytes / 32), Buffer.alloc(bytes / 32)]);
      expectEncoded(nearly, RAW, nearly);

      const dst = Buffer.alloc(bytes + 2, 7);
      expect(encoder.decode(encoded, 0, encoded.length, bytes, dst, 1)).toBe(true);
      expect(dst.subarray(1, -1).equals(text)).toBe(true);
      encoder.fill(filled.readInt32LE(0), bytes, dst, 1);
      expect(dst.subarray(1, -1).equals(filled)).toBe(true);
      expect([dst.at(0), dst.at(-1)]).toEqual([7, 7]);
    },
  );

  it.each(SIZES)(
    'of %i bytes leave the destination as it is where a block is no such page',
    (bytes) => {
      const { encoded } = encode(Buffer.alloc(bytes, 'no four bytes repeat in this. '));
      const dst = Buffer.alloc(bytes, 7);
      for (const other of SIZES.filter((size) => size < bytes)) {
        expect(encoder.decode(encoded, 0, encoded.length, other, dst, 0)).toBe(false);
      }
      expect(encoder.decode(encoded, 0, encoded.length - 1, bytes, dst, 0)).toBe(false);
      expect(dst.equals(Buffer.alloc(bytes, 7))).toBe(true);
    },
  );
});
