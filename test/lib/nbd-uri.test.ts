import { expect, test } from 'vitest';
import { nbdUri } from '../../src/lib/nbd-uri.ts';

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
