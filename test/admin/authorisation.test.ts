import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ListenAddress } from '../../src/lib/listen-address.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';
import { page, startAdmin } from './fixture.ts';

const TOKEN = 'correct-horse-battery-staple';
const ANYWHERE: ListenAddress = { kind: 'tcp', host: '0.0.0.0', port: 0 };

describe('a listener that strangers can reach', () => {
  it.each([
    '0.0.0.0',
    '::',
    '192.0.2.1',
    'example.org',
    '127.example.org',
    'localhost.example.org',
  ])('is refused at %s without a token, in one sentence', async (host) => {
    await expect(startAdmin({ address: { kind: 'tcp', host, port: 0 } })).rejects.toMatchObject({
      kind: 'usage',
      message: expect.stringMatching(/can be reached from elsewhere.*--token-file/),
    });
  });

  it('is had with one', async () => {
    const { send } = await startAdmin({ address: ANYWHERE, token: TOKEN });
    expect((await send('GET', '/v1/status')).status).toBe(200);
  });
});

describe('a token', () => {
  it.each(['', 'short', 'fifteen-letters', 'with a space in it', 'smörgåsbord-smörgåsbord'])(
    'is refused when it is %j',
    async (token) => {
      await expect(startAdmin({ token })).rejects.toMatchObject({ kind: 'usage' });
    },
  );

  it.each([
    ['no header', {}],
    ['another scheme', { authorization: `Basic ${TOKEN}` }],
    ['another token', { authorization: 'Bearer correct-horse-battery-stable' }],
    ['the beginning of it', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }],
    ['more than it', { authorization: `Bearer ${TOKEN}x` }],
    ['nothing', { authorization: 'Bearer ' }],
  ])('is asked for when there is %s', async (_, headers) => {
    const withoutToken = await startAdmin({ token: TOKEN });
    const all = { authorization: '', ...headers };
    for (const target of [
      '/',
      '/metrics',
      '/v1/status',
      '/openapi.json',
      '/nowhere',
      '/v1/nowhere',
    ]) {
      const {
        status,
        type,
        json,
        headers: answered,
      } = await withoutToken.send('GET', target, {
        headers: all,
      });
      expect([target, status, type]).toEqual([target, 401, 'application/problem+json']);
      expect(json).toMatchObject({ title: 'Unauthorized', status: 401 });
      expect(answered['www-authenticate']).toMatch(/^Bearer realm="tmem"/);
    }
  });

  it('is not asked of those who look after the process', async () => {
    const { send } = await startAdmin({ token: TOKEN });
    for (const target of ['/healthz', '/readyz']) {
      expect((await send('GET', target, { headers: { authorization: '' } })).status).toBe(200);
    }
  });

  it('is asked for on a Unix socket too', async () => {
    const address: ListenAddress = { kind: 'unix', path: path.join(temporaryDirectory(), 'a') };
    const { send } = await startAdmin({ address, token: TOKEN });
    expect((await send('GET', '/v1/status')).status).toBe(200);
    const refused = await send('POST', '/v1/freeze', { headers: { authorization: '' } });
    expect(refused.status).toBe(401);
  });

  it('is needed beside the key of a pool', async () => {
    const { send, makePool } = await startAdmin({ token: TOKEN });
    const { path: pool, key } = await makePool();
    const extras = { key, bytes: page(1), headers: { authorization: '' } };
    expect((await send('PUT', `${pool}/objects/0/pages/0`, extras)).status).toBe(401);
  });
});

describe('without a token, a page in a browser', () => {
  it.each(['evil.example', 'evil.example:80', 'localhost.evil.example', '192.0.2.1', '[::2]:80'])(
    'does not get here by the name %j',
    async (host) => {
      const { send } = await startAdmin();
      for (const target of ['/v1/status', '/metrics', '/openapi.json']) {
        expect((await send('GET', target, { headers: { host } })).status).toBe(403);
      }
    },
  );

  it('does not get here by the name in a URL either, whatever the header says', async () => {
    const { send } = await startAdmin();
    const status = async (target: string, host: string) =>
      (await send('GET', target, { headers: { host } })).status;
    expect(await status('http://evil.example/v1/status', 'localhost')).toBe(403);
    expect(await status('http://user@localhost/v1/status', 'localhost')).toBe(403);
    expect(await status('http://localhost/v1/status', 'evil.example')).toBe(200);
  });

  it.each(['localhost', 'LOCALHOST:9842', '127.0.0.1', '127.0.0.2:1', '[::1]:9842', '[::1]'])(
    'is not what asks for %s',
    async (host) => {
      const { send } = await startAdmin();
      expect((await send('GET', '/v1/status', { headers: { host } })).status).toBe(200);
    },
  );

  it('has any host on a Unix socket, where no name was looked up', async () => {
    const address: ListenAddress = { kind: 'unix', path: path.join(temporaryDirectory(), 'a') };
    const { send } = await startAdmin({ address });
    expect((await send('GET', '/v1/status', { headers: { host: 'tmem' } })).status).toBe(200);
  });

  it.each(['http://evil.example', 'http://localhost', 'null'])(
    'changes nothing from the origin %s, and may look',
    async (origin) => {
      const { send, tmem } = await startAdmin();
      const headers = { origin };
      expect((await send('POST', '/v1/freeze', { headers })).status).toBe(403);
      expect(tmem.layers.some(({ isFrozen }) => isFrozen)).toBe(false);
      expect((await send('GET', '/v1/status', { headers })).status).toBe(200);
    },
  );
});
