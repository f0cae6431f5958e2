import { afterEach, describe, expect, test, vi } from 'vitest';
import { Handshake } from '../../../src/nbd/handshake/handshake.ts';
import { Magic, Option } from '../../../src/nbd/protocol.ts';
import { fc } from '../../tools/seed.ts';
import {
  directoryOf,
  exportOf,
  info,
  meta,
  option,
  parseReplies,
  type Reply,
  u32,
} from './scripted-client.ts';

const DIRECTORY = directoryOf(exportOf('disk', { description: 'a disk' }), exportOf('other'));

const name = fc.constantFrom('', 'disk', 'other', 'nowhere');
const query = fc.constantFrom('base:', 'base:allocation', 'x-no:thing', 'nocolon', '');
const infoType = fc.integer({ min: 0, max: 5 });
const anyData = fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes));

/** Options as a right client sends them, and shapes that a wrong one might. */
const anyOption = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(3, 5, 8, 8, 99).map((number) => option(number)) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom(6, 6, 7), name, fc.array(infoType, { maxLength: 5 }))
      .map(([number, wanted, types]) => option(number, info(wanted, ...types))),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom(9, 10), name, fc.array(query, { maxLength: 4 }))
      .map(([number, wanted, queries]) => option(number, meta(wanted, ...queries))),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.integer({ min: 0, max: 12 }), anyData)
      .map(([number, data]) => option(number, data)),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(2, 7, 10, 99), fc.constantFrom(65_537, 70_000))
      .map(([number, length]) => option(number, Buffer.alloc(length))),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(1, 2, 7, 10, 99), fc.nat({ max: 0xffffffff }))
      .map(([number, length]) => option(number, 'x', length)),
  },
  { weight: 1, arbitrary: name.map((wanted) => option(Option.EXPORT_NAME, wanted)) },
);

const validFlags = fc.constantFrom(3, 3, 3, 1, 2, 0).map((flags) => u32(flags));
const conversation = fc
  .tuple(
    fc.oneof({ weight: 9, arbitrary: validFlags }, anyData),
    fc.array(anyOption, { maxLength: 12 }),
  )
  .map(([flags, options]) => Buffer.concat([flags, ...options]));

/** A conversation with some of its bytes overwritten. */
const mutated = fc
  .tuple(conversation, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }))
  .map(([bytes, changes]) => {
    const copy = Buffer.from(bytes);
    for (const [position, value] of changes)
      if (copy.length > 0) copy[position % copy.length] = value;
    return copy;
  });

const stream = fc.oneof(
  { weight: 3, arbitrary: conversation },
  { weight: 3, arbitrary: mutated },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
);

/** Feeds a stream in pieces of these sizes, over and over; answers all that can be observed. */
function converse(bytes: Buffer, sizes: readonly number[]) {
  const sent: Buffer[] = [];
  const handshake = new Handshake(DIRECTORY, (reply) => sent.push(reply));
  let at = 0;
  for (let turn = 0; at < bytes.length && handshake.state === 'options'; turn++) {
    const end = at + (sizes[turn % sizes.length] ?? 1);
    // A copy that is wiped afterwards, as a reused socket buffer would be.
    const chunk = Buffer.from(bytes.subarray(at, end));
    handshake.feed(chunk);
    at = Math.min(end, bytes.length) - handshake.leftover.length;
    chunk.fill(0xee);
  }
  const { state, result, closed } = handshake;
  // Where in the stream a closed handshake stopped reading depends on the pieces; nothing else does.
  return { state, result, closed, sent, endedAt: state === 'transmission' ? at : undefined };
}

/** Everything is a reply but the answer to EXPORT_NAME, which can only be the last. */
function checkSent(sent: readonly Buffer[], state: string): void {
  sent.forEach((piece, index) => {
    const isReply = piece.readUInt32BE(0) === Magic.OPTION_REPLY_HIGH;
    if (!isReply) {
      expect([10, 134]).toContain(piece.length);
      expect([index, state]).toEqual([sent.length - 1, 'transmission']);
      return;
    }
    const replies = parseReplies(piece);
    expect(new Set(replies.map((reply) => reply.option)).size).toBe(1);
    expect(replies.map(isFinal)).toEqual(replies.map((_, at) => at === replies.length - 1));
  });
}

function isFinal({ type }: Reply): boolean {
  return type === 1 || type >= 0x80000000;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('any stream of bytes', () => {
  test('has the same outcome in one piece, byte by byte and in random pieces', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(stream, sizes, (bytes, pieces) => {
        const whole = converse(bytes, [Math.max(1, bytes.length)]);
        expect(converse(bytes, [1])).toEqual(whole);
        expect(converse(bytes, pieces)).toEqual(whole);
      }),
      { numRuns: 300 },
    );
  });

  test('ends in a state that is whole, after replies that are whole', () => {
    fc.assert(
      fc.property(stream, (bytes) => {
        const { state, result, closed, sent } = converse(bytes, [Math.max(1, bytes.length)]);
        expect([state, result !== undefined, closed !== undefined]).toEqual([
          state,
          state === 'transmission',
          state === 'closed',
        ]);
        if (closed) expect(closed.reason).toMatch(/^[ -~]{1,160}$/);
        if (result && !result.isStructured) expect(result.metaContexts).toEqual([]);
        checkSent(sent, state);
      }),
      { numRuns: 1000 },
    );
  });

  test('never makes the handshake allocate more than 64 KiB for an option', () => {
    const sizes: number[] = [];
    const allocate = Buffer.allocUnsafe;
    vi.spyOn(Buffer, 'allocUnsafe').mockImplementation((size) => {
      sizes.push(size);
      return allocate(size);
    });
    const length = fc.oneof(fc.nat({ max: 140_000 }), fc.nat({ max: 0xffffffff }));
    const liar = fc
      .tuple(fc.constantFrom(1, 6, 7, 9, 10, 99), length)
      .map(([number, announced]) => Buffer.concat([u32(3), option(number, '', announced)]));
    fc.assert(
      fc.property(liar, (bytes) => {
        const handshake = new Handshake(DIRECTORY, () => {});
        handshake.feed(bytes);
      }),
      { numRuns: 500 },
    );
    expect(sizes.length).toBeGreaterThan(0);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(64 * 1024);
  });
});
