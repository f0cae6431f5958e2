import { expect, test } from 'vitest';
import { TmemError } from '../../src/lib/errors.ts';
import type { TcpAddress, UnixAddress } from '../../src/lib/listen-address.ts';
import { nbdUri, nbdUris, parseNbdUri } from '../../src/lib/nbd-uri.ts';

test.each([
  ['127.0.0.1', 'disk.raw', 'nbd://127.0.0.1:10809/disk.raw'],
  ['::1', '', 'nbd://[::1]:10809/'],
  ['0.0.0.0', 'a', 'nbd://localhost:10809/a'],
  ['::', 'a', 'nbd://localhost:10809/a'],
  ['h', 'a/b c%&é?#', 'nbd://h:10809/a%2Fb%20c%25%26%C3%A9%3F%23'],
])('nbdUri names host %s and export %j', (host, name, uri) => {
  expect(nbdUri({ kind: 'tcp', host, port: 10809 }, name)).toBe(uri);
});

test('nbdUri encodes what a socket path may not show, but keeps its slashes', () => {
  const address = { kind: 'unix', path: '/run/a b&c?.sock' } as const;
  expect(nbdUri(address, 'disk')).toBe('nbd+unix:///disk?socket=/run/a%20b%26c%3F.sock');
  expect(nbdUri(address, '')).toBe('nbd+unix:///?socket=/run/a%20b%26c%3F.sock');
});

test.each(['', 'a/b c?', 'ü%'])('a URI is read back to its address and name, %j', (name) => {
  const unix: UnixAddress = { kind: 'unix', path: '/run/a b&c%.sock' };
  const tcp = (host: string, port = 10810): TcpAddress => ({ kind: 'tcp', host, port });
  for (const address of [unix, tcp('localhost'), tcp('::1'), tcp('127.0.0.1', 1)]) {
    expect(parseNbdUri(nbdUri(address, name))).toEqual({ address, exportName: name });
  }
});

test('a URI without a port means the registered one', () => {
  expect(parseNbdUri('nbd://host')).toEqual({
    ...{ address: { kind: 'tcp', host: 'host', port: 10809 }, exportName: '' },
  });
});

test.each([
  '',
  'disk',
  'http://h/',
  'nbds://h/',
  'nbds+unix:///?socket=/s',
  'nbd+unix:///x',
  'nbd://h/%',
])('what is no URI of a server without TLS is refused: %j', (text) => {
  expect(() => parseNbdUri(text)).toThrow(TmemError);
});

test('nbdUris names the default export twice, and nothing that no client takes', () => {
  const at = (host: string) => ({ kind: 'tcp', host, port: 10809 }) as const;
  expect(nbdUris(at('::1'), 'a', true)).toEqual(['nbd://[::1]:10809/a', 'nbd://[::1]:10809/']);
  expect(nbdUris(at('::1'), 'a', false)).toEqual(['nbd://[::1]:10809/a']);
  expect(nbdUris(at('fe80::1%eth0'), 'a', true)).toEqual([]);
  expect(nbdUris({ kind: 'fd', fd: 3 }, 'a', true)).toEqual([]);
});
