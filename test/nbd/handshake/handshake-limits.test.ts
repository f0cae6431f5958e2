import { afterEach, describe, expect, test, vi } from 'vitest';
import { Handshake } from '../../../src/nbd/handshake/handshake.ts';
import { Option, OptionReply } from '../../../src/nbd/protocol.ts';
import { directoryOf, exportOf, info, option, ScriptedClient, u32 } from './scripted-client.ts';

const { ACK, INFO, ERR_INVALID, ERR_UNSUP, ERR_TOO_BIG } = OptionReply;
const KIB = 1024;

afterEach(() => {
  vi.restoreAllMocks();
});

describe('option lengths', () => {
  test.each([Option.GO, Option.INFO, Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT])(
    'above 64 KiB make option %i TOO_BIG, after its data has passed unstored',
    (number) => {
      const client = new ScriptedClient();
      const header = option(number, '', 64 * KIB + 1);
      const allocate = vi.spyOn(Buffer, 'allocUnsafe');
      client.handshake.feed(header);
      expect(allocate).not.toHaveBeenCalled();
      expect(client.send(Buffer.alloc(64 * KIB))).toHaveLength(0);
      expect(client.send(Buffer.alloc(1)).readUInt32BE(12)).toBe(ERR_TOO_BIG);
      expect(client.typesOf(Option.GO, info('disk'))).toEqual([INFO, ACK]);
    },
  );

  test('of 64 KiB are still parsed', () => {
    const client = new ScriptedClient();
    const requests = (64 * KIB - 4 - 4 - 2) / 2;
    const data = info('disk', ...new Array<number>(requests).fill(99));
    expect(data).toHaveLength(64 * KIB);
    expect(client.typesOf(Option.INFO, data)).toEqual([INFO, ACK]);
  });

  test('up to 1 MiB are drained, and the answer is what the option deserves', () => {
    const data = Buffer.alloc(1024 * KIB);
    const client = new ScriptedClient();
    expect(client.typesOf(77, data)).toEqual([ERR_UNSUP]);
    expect(client.typesOf(Option.LIST, data)).toEqual([ERR_INVALID]);
    expect(client.typesOf(Option.ABORT, data)).toEqual([ACK]);
  });

  test.each([1024 * KIB + 1, 0xffffffff])('of %i disconnect before any data comes', (length) => {
    for (const number of [77, Option.ABORT, Option.LIST, Option.GO]) {
      const client = new ScriptedClient();
      expect(client.send(option(number, '', length))).toHaveLength(0);
      expect(client.handshake.closed).toEqual({
        reason: `option ${number} announces ${length} bytes of data`,
        isViolation: true,
      });
    }
  });
});

describe('the stream of options', () => {
  test('ends at the 129th option', () => {
    const client = new ScriptedClient();
    for (let count = 1; count <= 128; count++) expect(client.typesOf(99)).toEqual([ERR_UNSUP]);
    expect(client.send(option(99))).toHaveLength(0);
    expect(client.handshake.closed?.reason).toBe('more than 128 options were sent');
  });

  test.each([
    ['first', u32(0x4e42444d, 0x454f5054, Option.LIST, 0)],
    ['second', u32(0x49484156, 0x454f5055, Option.LIST, 0)],
  ])('ends where the %s word of the magic is wrong', (_, bytes) => {
    const client = new ScriptedClient();
    expect(client.send(bytes)).toHaveLength(0);
    expect(client.handshake.closed).toMatchObject({ isViolation: true });
  });

  test('is answered in order where a client does not wait', () => {
    const client = new ScriptedClient();
    const sent = client.send(option(99), option(Option.STRUCTURED_REPLY), option(Option.LIST));
    expect([sent.readUInt32BE(8), sent.readUInt32BE(sent.length - 12)]).toEqual([99, Option.LIST]);
  });

  test('is answered by one piece per option', () => {
    const pieces: Buffer[] = [];
    const handshake = new Handshake(directoryOf(exportOf('disk')), (piece) => pieces.push(piece));
    handshake.feed(Buffer.concat([u32(3), option(Option.LIST), option(Option.GO, info(''))]));
    expect(pieces.map((piece) => piece.readUInt32BE(8))).toEqual([Option.LIST, Option.GO]);
  });
});

describe('bytes behind the last option', () => {
  const request = Buffer.from('a request of the transmission phase');

  test.each([
    ['EXPORT_NAME', option(Option.EXPORT_NAME, 'disk')],
    ['GO', option(Option.GO, info('disk'))],
  ])('are left over for transmission after %s', (_, last) => {
    const client = new ScriptedClient();
    client.send(last, request);
    expect(client.handshake.state).toBe('transmission');
    expect(client.handshake.leftover).toEqual(request);
  });

  test('end the handshake where GO failed', () => {
    const client = new ScriptedClient();
    client.send(option(Option.GO, info('other')), request);
    expect(client.handshake.closed).toMatchObject({ isViolation: true });
    expect(client.handshake.leftover).toHaveLength(0);
  });

  test('are not for the handshake any more once it has succeeded', () => {
    const client = new ScriptedClient();
    client.send(option(Option.GO, info('disk')));
    expect(client.handshake.leftover).toHaveLength(0);
    expect(() => client.send(request)).toThrow('after it succeeded');
  });
});
