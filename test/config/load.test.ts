import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { loadConfig, parseConfig } from '../../src/config/load.ts';
import { TmemError } from '../../src/lib/errors.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';

const parse = (text: string) => parseConfig(text, '/etc/tmem/tmem.yaml').config;

const FULL = `
memory: 1GiB
hot: 10%
policy: lru
mode: read-only
exports:
  - path: images/a.raw
  - { name: b, path: /srv/b.raw, mode: writethrough }
swap:
  - { name: s, size: 1GiB, overflow: s.overflow, weight: 50, cap: 512MiB, minimum: 16MiB }
dirtyLimit: 128MiB
drainTimeout: 9
snapshot: warm.snapshot
governor: false
tokenFile: token
listen: [ 'unix:tmem.sock', tcp:127.0.0.1:10810 ]
admin: none
spin: 0
buffered: true
io: threads
codec: lz4
pageSize: 16384
maxConnections: 7
handshakeTimeoutMs: 500
`;

test('parseConfig reads every key, and paths from the directory of the file', () => {
  expect(parse(FULL)).toEqual({
    memory: 1024 ** 3,
    hot: 0.1,
    policy: 'lru',
    mode: 'read-only',
    exports: [
      { path: '/etc/tmem/images/a.raw' },
      { name: 'b', path: '/srv/b.raw', mode: 'writethrough' },
    ],
    swap: [
      {
        name: 's',
        size: 1024 ** 3,
        overflow: '/etc/tmem/s.overflow',
        weight: 50,
        cap: 512 * 1024 ** 2,
        minimum: 16 * 1024 ** 2,
      },
    ],
    dirtyLimit: 128 * 1024 ** 2,
    drainTimeout: 9,
    snapshot: '/etc/tmem/warm.snapshot',
    governor: false,
    tokenFile: '/etc/tmem/token',
    listen: [
      { kind: 'unix', path: '/etc/tmem/tmem.sock' },
      { kind: 'tcp', host: '127.0.0.1', port: 10810 },
    ],
    admin: 'none',
    spin: 0,
    buffered: true,
    io: 'threads',
    codec: 'lz4',
    pageSize: 16384,
    maxConnections: 7,
    handshakeTimeoutMs: 500,
  });
});

test.each(['', '# nothing\n', '{}'])('parseConfig takes %j for no wishes', (text) => {
  expect(parse(text)).toEqual({});
});

describe('parseConfig says where and what is wrong with', () => {
  test.each([
    ['a typo', 'hot: 0\nmemroy: 1GiB', /yaml:2: unknown key memroy; did you mean memory\?$/],
    [
      'an unknown key',
      'colour: 1',
      /yaml:1: unknown key colour; the keys are exports, swap, ram, mode/,
    ],
    [
      'a typo in an export',
      'exports:\n  - path: a\n    nmae: b',
      /yaml:3: unknown key exports\[0\]\.nmae; did you mean name\?/,
    ],
    ['a size', 'hot: 0\nmemory: 12XB', /yaml:2: memory: "12XB" has no known suffix/],
    ['a share', 'hot: 25', /yaml:1: hot: "25" is not a share/],
    ['an address', 'listen:\n- tcp:a', /yaml:2: listen\[0\]: "tcp:a" is not an address/],
    ['a name', 'policy: lifo', /yaml:1: policy must be one of s3fifo-cw, lru/],
    ['a type', 'buffered: maybe', /yaml:1: buffered must be true or false/],
    ['a list that is none', 'listen: tcp:a:1', /yaml:1: listen must be a list/],
    ['a size that is a list', 'memory: [1]', /yaml:1: memory must be a text or a number/],
    ['an export without a path', 'exports:\n  - name: a', /yaml:2: exports\[0\].path is missing; /],
    ['a swap without a size', 'swap:\n  - name: a', /yaml:2: swap\[0\].size is missing; give it$/],
    ['a typo of what is needed', 'ram:\n  - nmae: a\n    size: 1M', /nmae; did you mean name\?/],
    ['an empty list', 'listen: []', /yaml:1: listen may not be empty/],
    ['a number out of range', 'spin: 10001', /yaml:1: spin must be at most 10000/],
    ['a fraction for a count', 'maxConnections: 1.5', /maxConnections must be a whole number/],
    ['several at once', 'a1: 1\nspin: -1', /\(and 1 more\)$/],
    ['a list for the file', '- a', /yaml:1: the file must be a mapping/],
    ['a key twice', 'hot: 0\nhot: 0', /yaml:2: this is not YAML: .*unique/],
    ['a syntax error', 'hot: 0\nlisten: [', /yaml:\d: this is not YAML/],
    [
      'a second document',
      'hot: 0\n---\nhot: 0',
      /yaml:2: a second document begins here; keep one$/,
    ],
    ['an unknown tag', 'hot: 0\nmemory: !GiB 64MiB', /yaml:2: this is not YAML: .*!GiB/],
    ['an alias of nothing', 'memory: *size', /this is not YAML: .*alias.*size/i],
    [
      'a path with a NUL',
      'exports:\n- name: a\n  path: "a\\0b"',
      /yaml:3: exports\[0\]\.path: no path holds a NUL; write another$/,
    ],
    [
      'a socket that is too deep down',
      `listen: ["unix:${'d'.repeat(100)}/s"]`,
      /^\/etc\/tmem\/tmem\.yaml: the socket path .* choose a shorter one$/,
    ],
    ['endless nesting', '['.repeat(100_000), /this is not YAML/],
  ])('%s', (_, text, message) => {
    expect(() => parse(text)).toThrow(message);
    expect(() => parse(text)).toThrow(TmemError);
  });

  test('a key that is a list, in our words alone', () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    onTestFinished(() => warn.mockRestore());
    expect(() => parse('? [hot]\n: 0')).toThrow(/yaml:1: unknown key \[ hot \]/);
    expect(warn).not.toHaveBeenCalled();
  });

  test('aliases that multiply', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level < 9; level++) {
      lines.push(
        `a${level}: &a${level} [${Array(9)
          .fill(`*a${level - 1}`)
          .join(', ')}]`,
      );
    }
    expect(() => parse(lines.join('\n'))).toThrow(
      /yaml: its aliases stand for too much; write out what they stand for$/,
    );
  });
});

describe('loadConfig', () => {
  test('says which file cannot be read, and why', () => {
    expect(() => loadConfig('/nowhere/none.yaml')).toThrow(
      'cannot read the configuration file /nowhere/none.yaml: there is no such file',
    );
    const message = 'cannot read the configuration file /: it is a directory; name a file';
    expect(() => loadConfig('/')).toThrow(
      new TmemError('usage', message, { context: { path: '/' } }),
    );
  });

  test('reads a file of 1 MiB and refuses a larger or an endless one', () => {
    const file = join(temporaryDirectory(), 'a.yaml');
    writeFileSync(file, `hot: 0\n#${' '.repeat(1024 * 1024 - 8)}`);
    expect(loadConfig(file).config).toEqual({ hot: 0 });
    truncateSync(file, 1024 * 1024 + 1);
    expect(() => loadConfig(file)).toThrow(/larger than 1MiB/);
    expect(() => loadConfig('/dev/zero')).toThrow(/larger than 1MiB/);
  });

  test('refuses what is not UTF-8, whose paths would be others', () => {
    const file = join(temporaryDirectory(), 'a.yaml');
    writeFileSync(file, 'snapshot: /caf\u00e9', 'utf8');
    expect(loadConfig(file).config).toEqual({ snapshot: '/caf\u00e9' });
    writeFileSync(file, 'snapshot: /caf\u00e9', 'latin1');
    expect(() => loadConfig(file)).toThrow(`${file} is not text in UTF-8; save it as such`);
    writeFileSync(file, '\ufeffhot: 0', 'utf16le');
    expect(() => loadConfig(file)).toThrow(/is not text in UTF-8/);
    writeFileSync(file, '\ufeffhot: 0', 'utf8');
    expect(loadConfig(file).config).toEqual({ hot: 0 });
  });
});
