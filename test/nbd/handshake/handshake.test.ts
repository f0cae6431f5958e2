import { describe, expect, test } from 'vitest';
import { Handshake } from '../../../src/nbd/handshake/handshake.ts';
import { Option, OptionReply, TransmissionFlag } from '../../../src/nbd/protocol.ts';
import {
  directoryOf,
  exportOf,
  FIXED,
  info,
  NO_ZEROES,
  option,
  ScriptedClient,
  u16,
  u32,
} from './scripted-client.ts';

const { ACK, SERVER, INFO, ERR_INVALID, ERR_UNSUP, ERR_UNKNOWN, ERR_TOO_BIG } = OptionReply;

/** What the first information reply says of the export: size as two words, and flags. */
function infoExport(data: Buffer | undefined): [number, number, number, number] | undefined {
  if (data?.length !== 12) return undefined;
  return [data.readUInt16BE(0), data.readUInt32BE(2), data.readUInt32BE(6), data.readUInt16BE(10)];
}

describe('the greeting', () => {
  test('is both magics and the two handshake flags', () => {
    const greeting = new Handshake(directoryOf(), () => {}).greeting();
    expect(greeting.toString('latin1')).toBe('NBDMAGICIHAVEOPT\x00\x03');
  });

  test.each([4, 0x8001, 0x80000003])('ends where client flags %i were not offered', (flags) => {
    const { handshake } = new ScriptedClient(undefined, flags);
    expect(handshake.state).toBe('closed');
    expect(handshake.closed).toMatchObject({ isViolation: true });
  });

  test('leaves a client without fixed newstyle only EXPORT_NAME', () => {
    const client = new ScriptedClient(undefined, NO_ZEROES);
    for (const number of [Option.GO, Option.LIST, Option.STARTTLS, Option.ABORT, 99]) {
      expect(client.ask(number, info('disk'))).toMatchObject([
        { option: number, type: ERR_INVALID },
      ]);
    }
    expect(client.send(option(Option.EXPORT_NAME, 'disk'))).toHaveLength(10);
    expect(client.handshake.state).toBe('transmission');
  });
});

describe('EXPORT_NAME', () => {
  test('is answered by size and flags, with 124 zeros unless NO_ZEROES was agreed', () => {
    const reply = Buffer.concat([u32(257, 4096), u16(1 | TransmissionFlag.SEND_FLUSH)]);
    const lean = new ScriptedClient(undefined, FIXED | NO_ZEROES);
    expect(lean.send(option(Option.EXPORT_NAME, 'disk'))).toEqual(reply);
    const padded = new ScriptedClient(undefined, FIXED);
    const paddedReply = padded.send(option(Option.EXPORT_NAME, 'disk'));
    expect(paddedReply).toEqual(Buffer.concat([reply, Buffer.alloc(124)]));
  });

  test('with no name means the default export, whose own name is the result', () => {
    const client = new ScriptedClient();
    client.send(option(Option.EXPORT_NAME));
    expect(client.handshake.result).toEqual({
      exportName: 'disk',
      isStructured: false,
      metaContexts: [],
      transmissionFlags: 1 | TransmissionFlag.SEND_FLUSH,
    });
  });

  test('disconnects without a word where the export is not served', () => {
    const client = new ScriptedClient();
    expect(client.send(option(Option.EXPORT_NAME, 'no\nsuch\u009b'))).toHaveLength(0);
    const reason = 'export "no?such?" is not served here';
    expect(client.handshake.closed).toEqual({ reason, isViolation: false });
  });

  test('never puts more than 64 characters of a name into the reason', () => {
    const client = new ScriptedClient();
    client.send(option(Option.EXPORT_NAME, 'n'.repeat(4096)));
    expect(client.handshake.closed?.reason).toBe(
      `export "${'n'.repeat(64)}..." is not served here`,
    );
  });

  test.each([
    ['over 4096 bytes long', option(Option.EXPORT_NAME, '', 4097)],
    ['with a NUL', option(Option.EXPORT_NAME, 'di\0sk')],
    ['that is not UTF-8', option(Option.EXPORT_NAME, Buffer.from([0xff]))],
  ])('disconnects for a name %s', (_, bytes) => {
    const client = new ScriptedClient();
    expect(client.send(bytes)).toHaveLength(0);
    expect(client.handshake.closed).toMatchObject({ isViolation: true });
  });
});

describe('INFO and GO', () => {
  test('answer with the export, then ACK, and only GO enters transmission', () => {
    const client = new ScriptedClient(directoryOf(exportOf('disk', { description: 'a disk' })));
    const asked = client.ask(Option.INFO, info('disk'));
    expect(asked.map(({ type }) => type)).toEqual([INFO, ACK]);
    expect(infoExport(asked[0]?.data)).toEqual([0, 257, 4096, 1 | TransmissionFlag.SEND_FLUSH]);
    expect(client.handshake.state).toBe('options');
    const gone = client.ask(Option.GO, info('disk'));
    expect(gone.map(({ data }) => data)).toEqual(asked.map(({ data }) => data));
    expect(client.handshake.state).toBe('transmission');
  });

  test('give name, description and sizes once each where asked, and ignore unknown types', () => {
    const client = new ScriptedClient(directoryOf(exportOf('disk', { description: 'a disk' })));
    const replies = client.ask(Option.INFO, info('', 3, 0, 99, 1, 3, 2));
    expect(replies.slice(1).map(({ data }) => data)).toEqual([
      Buffer.concat([u16(1), Buffer.from('disk')]),
      Buffer.concat([u16(2), Buffer.from('a disk')]),
      Buffer.concat([u16(3), u32(1, 4096, 32 * 1024 * 1024)]),
      Buffer.alloc(0),
    ]);
  });

  test.each([{ minimumBlockBytes: 512 }, { maximumBlockBytes: 2 ** 20 }])(
    'tell sizes tighter than the defaults unasked, and accept the client: %o',
    (changes) => {
      const client = new ScriptedClient(directoryOf(exportOf('disk', changes)));
      const replies = client.ask(Option.GO, info('disk'));
      expect(replies.map(({ data }) => data.length)).toEqual([12, 14, 0]);
      expect(client.handshake.state).toBe('transmission');
    },
  );

  test('fail with UNKNOWN for another export and stay in the handshake', () => {
    const client = new ScriptedClient();
    expect(client.typesOf(Option.GO, info('other'))).toEqual([ERR_UNKNOWN]);
    expect(client.typesOf(Option.INFO, info('x'.repeat(4096)))).toEqual([ERR_UNKNOWN]);
    expect(client.typesOf(Option.GO, info('disk'))).toEqual([INFO, ACK]);
  });

  test.each([
    ['no data', Buffer.alloc(0)],
    ['less than a name length and a count', u32(0)],
    ['a name longer than the data', Buffer.concat([u32(5), Buffer.from('disk'), u16(0)])],
    ['a name length that would wrap', Buffer.concat([u32(0xffffffff), Buffer.from('disk')])],
    ['fewer requests than counted', Buffer.concat([u32(0), u16(2, 3)])],
    ['more requests than counted', Buffer.concat([u32(0), u16(1, 3, 2)])],
    ['half a request', Buffer.concat([u32(0), u16(1), Buffer.from([0])])],
    ['a name of 4097 bytes', info('n'.repeat(4097))],
    ['a NUL in the name', info('disk\0')],
    ['a name that is not UTF-8', info(Buffer.from([0xc0, 0x80]))],
  ])('are INVALID with %s, and the next option is understood', (_, data) => {
    const client = new ScriptedClient();
    expect(client.typesOf(Option.INFO, data)).toEqual([ERR_INVALID]);
    expect(client.typesOf(Option.GO, data)).toEqual([ERR_INVALID]);
    expect(client.typesOf(Option.GO, info(''))).toEqual([INFO, ACK]);
  });

  test('advertise SEND_DF only after structured replies were agreed on', () => {
    const client = new ScriptedClient();
    client.ask(Option.STRUCTURED_REPLY);
    const [first] = client.ask(Option.GO, info('disk'));
    const flags = 1 | TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_DF;
    expect(infoExport(first?.data)?.[3]).toBe(flags);
    expect(client.handshake.result).toMatchObject({ isStructured: true, transmissionFlags: flags });
  });
});

describe('options without data', () => {
  test('LIST names every export with its description, in order', () => {
    const second = exportOf('zwölf', { description: 'the second' });
    const client = new ScriptedClient(directoryOf(exportOf('disk'), second));
    const replies = client.ask(Option.LIST);
    expect(replies.map(({ type }) => type)).toEqual([SERVER, SERVER, ACK]);
    expect(replies[0]?.data).toEqual(Buffer.concat([u32(4), Buffer.from('disk')]));
    expect(replies[1]?.data).toEqual(Buffer.concat([u32(6), Buffer.from('zwölfthe second')]));
  });

  test('LIST with no export is an ACK alone', () => {
    expect(new ScriptedClient(directoryOf()).typesOf(Option.LIST)).toEqual([ACK]);
  });

  test('LIST is TOO_BIG once its replies reach 4 MiB, and other options still work', () => {
    const name = (index: number) => exportOf(`${index}`.padEnd(4096, 'x'));
    const client = new ScriptedClient(
      directoryOf(...Array.from({ length: 600 }, (_, i) => name(i))),
    );
    expect(client.ask(Option.LIST)).toHaveLength(601);
    expect(client.typesOf(Option.LIST)).toEqual([ERR_TOO_BIG]);
    expect(client.typesOf(Option.GO, info(''))).toEqual([INFO, ACK]);
  });

  test.each([Option.LIST, Option.STRUCTURED_REPLY, Option.STARTTLS])(
    'option %i is INVALID with data, which is consumed',
    (number) => {
      const client = new ScriptedClient();
      expect(client.ask(number, 'x')).toMatchObject([{ option: number, type: ERR_INVALID }]);
      client.ask(Option.GO, info('disk'));
      expect(client.handshake.result?.isStructured).toBe(false);
    },
  );

  test('STRUCTURED_REPLY may be repeated', () => {
    const client = new ScriptedClient();
    expect(client.typesOf(Option.STRUCTURED_REPLY)).toEqual([ACK]);
    expect(client.typesOf(Option.STRUCTURED_REPLY)).toEqual([ACK]);
  });

  test('STARTTLS is UNSUP, and what was agreed on stays', () => {
    const client = new ScriptedClient();
    client.ask(Option.STRUCTURED_REPLY);
    expect(client.typesOf(Option.STARTTLS)).toEqual([ERR_UNSUP]);
    client.ask(Option.GO, info('disk'));
    expect(client.handshake.result?.isStructured).toBe(true);
  });

  test.each(['', 'data'])('ABORT with data "%s" is acknowledged, then closed', (data) => {
    const client = new ScriptedClient();
    expect(client.send(option(Option.ABORT, data), option(Option.LIST))).toHaveLength(20);
    expect(client.handshake.closed).toMatchObject({ isViolation: false });
    expect(client.send(option(Option.LIST))).toHaveLength(0);
  });

  test.each([0, 4, 11, 0xffffffff])(
    'unknown option %i is UNSUP and its data consumed',
    (number) => {
      const client = new ScriptedClient();
      const decoy = option(Option.ABORT);
      expect(client.ask(number, decoy)).toMatchObject([{ option: number, type: ERR_UNSUP }]);
      expect(client.typesOf(Option.GO, info('disk'))).toEqual([INFO, ACK]);
    },
  );
});
