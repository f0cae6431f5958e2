import { describe, expect, it } from 'vitest';
import { fc } from '../tools/seed.ts';
import { type PlainRequest, parseInPieces } from './parsing.ts';

/** A request as formats of text can have it: microseconds, sectors. */
const REQUEST = fc.record({
  timeUs: fc.integer({ min: 1e15, max: 2e15 }),
  isRead: fc.boolean(),
  sector: fc.integer({ min: 0, max: 2 ** 40 }),
  sectors: fc.integer({ min: 1, max: 2 ** 16 }),
  volume: fc.integer({ min: 0, max: 2000 }),
});

type Made = typeof REQUEST extends fc.Arbitrary<infer Value> ? Value : never;

/** Microseconds as seconds with a fraction, without a double in between. */
function seconds(us: number): string {
  const digits = String(us).padStart(7, '0');
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`;
}

/** How each format writes a request. */
const WRITERS: Readonly<Record<string, (made: Made) => string>> = {
  msr: ({ timeUs, isRead, sector, sectors, volume }) => {
    const ticks = BigInt(timeUs) * 10n + 116444736000000000n;
    const bytes = `${sector * 512},${sectors * 512}`;
    return `${ticks},h${volume},1,${isRead ? 'Read' : 'Write'},${bytes},0`;
  },
  systor: ({ timeUs, isRead, sector, sectors, volume }) =>
    `${seconds(timeUs)},,${isRead ? 'R' : 'W'},${volume},${sector * 512},${sectors * 512}`,
  fiu: ({ timeUs, isRead, sector, sectors, volume }) =>
    `${timeUs}000 1 cat ${sector} ${sectors} ${isRead ? 'R' : 'W'} ${volume} 0 0f`,
  alibaba: ({ timeUs, isRead, sector, sectors, volume }) =>
    `${volume},${isRead ? 'R' : 'W'},${sector * 512},${sectors * 512},${timeUs}`,
  tencent: ({ timeUs, isRead, sector, sectors, volume }) =>
    `${seconds(timeUs)},${sector},${sectors},${isRead ? 0 : 1},${volume}`,
  spc: ({ timeUs, isRead, sector, sectors, volume }) =>
    `${volume},${sector},${sectors * 512},${isRead ? 'r' : 'w'},${seconds(timeUs)}`,
  k5: ({ timeUs, isRead, sector, sectors, volume }) =>
    `${volume},${seconds(timeUs)},${isRead ? 'R' : 'W'},${sector * 512},${sectors * 512}`,
  mqsim: ({ timeUs, isRead, sector, sectors, volume }) =>
    `${timeUs}000 ${volume} ${sector} ${sectors} ${isRead ? 1 : 0}`,
  csv: ({ timeUs, isRead, sector, sectors, volume }) =>
    `${timeUs},${isRead ? 'read' : 'write'},${sector},${sectors},${volume}`,
};

const NAMES: Readonly<Record<string, (volume: number) => string>> = {
  msr: (volume) => `h${volume}_1`,
  fiu: (volume) => `${volume}_0`,
};

function expected({ timeUs, isRead, sector, sectors, volume }: Made, format: string): PlainRequest {
  return {
    ...{ timeUs, op: isRead ? 'read' : 'write', offset: sector * 512, length: sectors * 512 },
    volume: NAMES[format]?.(volume) ?? `${volume}`,
  };
}

describe.each(Object.entries(WRITERS))('any requests as lines of %s', (format, line) => {
  it('are read as they are, in pieces of any size', () => {
    const header = format === 'csv' ? 'time_us,op,lba,sectors,volume\n' : '';
    fc.assert(
      fc.property(fc.array(REQUEST, { minLength: 1, maxLength: 60 }), fc.nat(), (made, seed) => {
        const bytes = Buffer.from(header + made.map((each) => `${line(each)}\n`).join(''));
        const cuts = [seed, seed >> 3, seed >> 7]
          .map((each) => each % (bytes.length + 1))
          .sort((one, other) => one - other);
        const { requests, tally } = parseInPieces(format, bytes, cuts);
        expect(requests).toEqual(made.map((each) => expected(each, format)));
        expect(tally.malformed).toBe(0);
      }),
      { numRuns: 40 },
    );
  });
});

describe('any bytes at all', () => {
  it.each(Object.keys(WRITERS))('as lines of %s throw nothing but are counted', (format) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => {
        const header = format === 'csv' ? 'time_us,op,lba,sectors,volume\n' : '';
        const bytes = Buffer.concat([Buffer.from(header), noise]);
        const { requests, tally } = parseInPieces(format, bytes, [bytes.length >> 1]);
        expect(requests.length + tally.malformed).toBeLessThanOrEqual(tally.lines);
        for (const { offset, length, timeUs } of requests) {
          expect(Number.isSafeInteger(offset) && Number.isSafeInteger(length)).toBe(true);
          expect(timeUs).not.toBeNaN();
        }
      }),
      { numRuns: 100 },
    );
  });
});
