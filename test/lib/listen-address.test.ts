import { describe, expect, test } from 'vitest';
import {
  checkUnixPath,
  formatListenAddress,
  parseListenAddress,
} from '../../src/lib/listen-address.ts';

describe('parseListenAddress', () => {
  test.each([
    ['unix:/run/tmem.sock', { kind: 'unix', path: '/run/tmem.sock' }],
    ['unix:a:b', { kind: 'unix', path: 'a:b' }],
    ['tcp:127.0.0.1:10809', { kind: 'tcp', host: '127.0.0.1', port: 10809 }],
    ['localhost:0', { kind: 'tcp', host: 'localhost', port: 0 }],
    ['tcp:[::1]:10809', { kind: 'tcp', host: '::1', port: 10809 }],
  ] as const)('reads %s', (text, address) => {
    expect(parseListenAddress(text)).toEqual(address);
  });

  test.each([
    '',
    '10809',
    'tcp:10809',
    'tcp:localhost',
    ':10809',
    'tcp::1',
    '::1:10809',
    'udp:a:1',
    'a:1 ',
  ])('refuses %j and shows how to write it', (text) => {
    expect(() => parseListenAddress(text)).toThrow(/write unix:PATH or tcp:HOST:PORT/);
  });

  test('refuses a port that does not exist and a socket without a path', () => {
    expect(() => parseListenAddress('a:65536')).toThrow(/port above 65535/);
    expect(() => parseListenAddress('unix:')).toThrow(/names no socket/);
  });
});

test.each(['unix:/run/tmem.sock', 'tcp:127.0.0.1:10809', 'tcp:[fe80::1%eth0]:1'])(
  'formatListenAddress writes %s as it was read',
  (text) => {
    expect(formatListenAddress(parseListenAddress(text))).toBe(text);
  },
);

test('checkUnixPath refuses what does not fit into sun_path, in bytes', () => {
  expect(() => checkUnixPath(`/${'a'.repeat(106)}`)).not.toThrow();
  expect(() => checkUnixPath(`/${'a'.repeat(107)}`)).toThrow(/108 bytes.*choose a shorter/);
  expect(() => checkUnixPath(`/${'é'.repeat(54)}`)).toThrow(/109 bytes/);
});
