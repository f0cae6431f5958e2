import { describe, expect, it } from 'vitest';
import { loadCodec } from '../../src/layers/codec.ts';
import { type PageKind, pageOf } from '../tmem/page-content.ts';
import { fc } from '../tools/seed.ts';

const CODECS = [loadCodec('lz4'), loadCodec('lz4-napi')];
const PAGE = 4096;

const kind = fc.constantFrom<PageKind>('zero', 'filled', 'tiny', 'half');
const pageBytes = fc.constantFrom(4096, 8192, 16384, 32768, 65536);
const page = fc
  .tuple(pageBytes, kind, fc.nat({ max: 1000 }))
  .map(([bytes, of, version]) => pageOf(bytes, of, version));

/** A block of a page with a lead and a trail of other bytes, and the page. */
function blockOf(plain: Buffer, codec = CODECS[0]): Buffer {
  const dst = Buffer.alloc(plain.length);
  const length = codec?.encode(plain, dst, plain.length) ?? 0;
  return dst.subarray(0, length);
}

for (const codec of CODECS) {
  describe(`codec ${codec.name.split(' ')[0]}`, () => {
    it('decodes what any codec encoded, from anywhere in a buffer', () => {
      fc.assert(
        fc.property(page, fc.nat({ max: 100 }), fc.constantFrom(...CODECS), (plain, at, by) => {
          const block = blockOf(plain, by);
          const src = Buffer.concat([Buffer.alloc(at, 0xff), block, Buffer.alloc(9, 0xff)]);
          const answer = Buffer.alloc(plain.length, 1);
          expect(codec.decode(src, at, at + block.length, answer)).toBe(true);
          expect(answer.equals(plain)).toBe(true);
        }),
      );
    });

    it('encodes within its limit, or answers 0 and writes nothing beyond it', () => {
      const plain = pageOf(PAGE, 'half', 3);
      const exact = blockOf(plain, codec).length;
      for (const limit of [1, 100, exact - 1, exact, exact + 1, PAGE]) {
        const dst = Buffer.alloc(PAGE + 64, 0xa5);
        const length = codec.encode(plain, dst, limit);
        expect(length).toBe(limit < exact ? 0 : exact);
        expect(dst.subarray(limit).equals(Buffer.alloc(dst.length - limit, 0xa5))).toBe(true);
      }
      expect(codec.encode(pageOf(PAGE, 'random', 1), Buffer.alloc(PAGE), PAGE - 1)).toBe(0);
    });

    it('refuses a block that is cut short, has more behind it or is of another page size', () => {
      for (const plain of [pageOf(PAGE, 'tiny', 1), pageOf(PAGE, 'half', 2)]) {
        const block = Buffer.concat([blockOf(plain), Buffer.alloc(4)]);
        const end = block.length - 4;
        const answer = Buffer.alloc(PAGE);
        for (let cut = 1; cut < end; cut++) expect(codec.decode(block, 0, cut, answer)).toBe(false);
        for (let more = 1; more <= 4; more++) {
          expect(codec.decode(block, 0, end + more, answer)).toBe(false);
        }
        for (const bytes of [2048, 4095, 4097, 8192]) {
          expect(codec.decode(block, 0, end, Buffer.alloc(bytes)), `${bytes}`).toBe(false);
        }
        expect(codec.decode(block, 0, end, answer)).toBe(true);
      }
    });

    it('refuses noise, and a match that begins before the page', () => {
      const answer = Buffer.alloc(PAGE);
      const noise = pageOf(65536, 'random', 9);
      for (let at = 0; at < 60_000; at += 61) {
        expect(codec.decode(noise, at, at + 1 + (at % 4000), answer)).toBe(false);
      }
      for (const distance of [0, 2, 0xffff]) {
        const block = Buffer.from([0x1f, 0x61, distance & 255, distance >> 8, 255, 0, 0x50, 1, 2]);
        expect(codec.decode(block, 0, block.length, answer)).toBe(false);
      }
    });

    it('throws for ranges outside its buffers', () => {
      const block = blockOf(pageOf(PAGE, 'half', 1));
      const answer = Buffer.alloc(PAGE);
      const { length } = block;
      for (const [start, end] of [
        [-1, length],
        [0, length + 1],
        [length, length],
        [5, 4],
        [Number.NaN, length],
        [0, Number.NaN],
      ] as const) {
        expect(() => codec.decode(block, start, end, answer)).toThrow('outside a buffer');
      }
      for (const limit of [0, -1, PAGE + 1, Number.NaN]) {
        expect(() => codec.encode(answer, Buffer.alloc(PAGE), limit)).toThrow('outside a buffer');
      }
    });
  });
}

describe('the codecs', () => {
  it('agree on every damaged block that both accept', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    const answers = CODECS.map(() => Buffer.alloc(65536));
    fc.assert(
      fc.property(page, damage, (plain, changes) => {
        const block = Buffer.from(blockOf(plain));
        for (const [at, byte] of changes) block[at % block.length] = byte;
        const pages = answers.map((answer) => answer.subarray(0, plain.length));
        const accepted = CODECS.map((codec, i) => {
          const answer = pages[i] ?? plain;
          return codec.decode(block, 0, block.length, answer);
        });
        if (accepted.every(Boolean)) expect(pages[0]?.equals(pages[1] ?? plain)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('are the native binding first, where it is installed', () => {
    expect(loadCodec().name).toBe(CODECS[0]?.name);
    expect(loadCodec('auto').name).not.toBe(loadCodec('lz4-napi').name);
  });
});

describe('a codec that is not installed', () => {
  const only =
    (...names: string[]) =>
    (name: string) => {
      if (names.includes(name)) return {};
      throw new Error(`Cannot find module '${name}'\nRequire stack: …`);
    };

  it('is told with what to do, and is replaced only where none was named', () => {
    expect(loadCodec('auto', only('lz4-napi')).name).toMatch(/^lz4-napi/);
    for (const [choice, names, what] of [
      ['auto', [], "lz4 or lz4-napi \\(Cannot find module 'lz4-napi'\\)"],
      ['lz4', ['lz4-napi'], "lz4 \\(Cannot find module 'lz4'\\)"],
      ['lz4-napi', ['lz4'], "lz4-napi \\(Cannot find module 'lz4-napi'\\)"],
    ] as const) {
      const message = new RegExp(`without the package ${what}; install it, without --omit=opt`);
      expect(() => loadCodec(choice, only(...names))).toThrow(message);
    }
  });

  it('is built again where the binding that is there is of another Node', () => {
    const load = (name: string) => {
      if (name === 'lz4-napi') return {};
      const message = "Module did not self-register: '…/xxhash.node'.";
      throw Object.assign(new Error(message), { code: 'ERR_DLOPEN_FAILED' });
    };
    const { name } = loadCodec('auto', load);
    expect(name).toMatch(
      /^lz4-napi .*the native lz4 binding is not for this Node: run npm rebuild/,
    );
    expect(() => loadCodec('lz4', load)).toThrow(/did not self-register.*; run npm rebuild lz4$/);
  });

  it('is not mentioned by the name of one that was asked for', () => {
    expect(loadCodec('lz4-napi', only('lz4-napi')).name).toBe('lz4-napi (prebuilt)');
    expect(loadCodec('auto', only('lz4-napi')).name).toMatch(/slower: .* was not built here/);
  });
});
