import { describe, expect, test } from 'vitest';
import { parseArguments } from '../../../src/cli/command/arguments.ts';
import {
  parseImageArgument,
  requestOf,
  SERVE_HELP,
  SERVE_OPTIONS,
} from '../../../src/cli/serve/options.ts';

const request = (...args: string[]) =>
  requestOf(parseArguments(args, SERVE_OPTIONS, 'tmem serve'), { directory: '/srv' });

describe('parseImageArgument', () => {
  test.each([
    ['a.raw', { path: 'a.raw' }],
    ['disk=a.raw', { name: 'disk', path: 'a.raw' }],
    ['disk=/b=c.raw', { name: 'disk', path: '/b=c.raw' }],
    ['./b=c.raw', { path: './b=c.raw' }],
    ['/dev/a=b', { path: '/dev/a=b' }],
    ['a b\n=c\n', { name: 'a b\n', path: 'c\n' }],
  ])('reads %j', (text, image) => {
    expect(parseImageArgument(text)).toEqual(image);
  });

  test('refuses an empty name and an empty image', () => {
    expect(() => parseImageArgument('=a.raw')).toThrow(/needs a name/);
    expect(() => parseImageArgument('a=')).toThrow(/names no image/);
    expect(() => parseImageArgument('')).toThrow(/names no image/);
  });
});

test('requestOf asks for nothing when nothing is given', () => {
  expect(Object.keys(request())).toEqual([]);
});

test('requestOf reads every option, and paths from the directory', () => {
  const args = '--memory 1GiB --hot 0 --policy lru --listen unix:s --listen tcp:[::1]:1';
  const more = '--admin unix:a --mode read-only --spin 0 --buffered --io threads x=i.raw /j.raw';
  const back = '--swap s=1GiB,overflow=o --swap t=64MiB --dirty-limit 8MiB --drain-timeout 9';
  const last = '--snapshot w --governor off --token-file t';
  expect(request(...`${args} ${back} ${last} ${more}`.split(' '))).toEqual({
    swap: [
      { name: 's', size: 1024 ** 3, overflow: '/srv/o' },
      { name: 't', size: 64 * 1024 ** 2 },
    ],
    dirtyLimit: 8 * 1024 ** 2,
    drainTimeout: 9,
    snapshot: '/srv/w',
    governor: false,
    tokenFile: '/srv/t',
    exports: [{ name: 'x', path: '/srv/i.raw' }, { path: '/j.raw' }],
    memory: 1024 ** 3,
    hot: 0,
    policy: 'lru',
    listen: [
      { kind: 'unix', path: '/srv/s' },
      { kind: 'tcp', host: '::1', port: 1 },
    ],
    admin: { kind: 'unix', path: '/srv/a' },
    mode: 'read-only',
    spin: 0,
    buffered: true,
    io: 'threads',
  });
});

test.each([
  [['--memory', '1GB'], '--memory: "1GB" is ambiguous; write 1GiB'],
  [['--hot', '25'], '--hot: "25" is not a share; write a percentage from 0% to 100%, as 25%'],
  [['--mode', 'readonly'], '--mode: "readonly" is not known; did you mean read-only?'],
  [['--spin', 'fast'], '--spin: "fast" is not a whole number from 0 to 10000'],
  [['--admin', 'off'], /^--admin: "off" is not an address/],
  [['--listen', `unix:/${'x'.repeat(120)}`], /has 121 bytes.*choose a shorter one/],
])('requestOf refuses %j and names the option', (args, message) => {
  expect(() => request(...args)).toThrow(message);
});

test('the help text names every option and fits a terminal of 100 columns', () => {
  for (const name of Object.keys(SERVE_OPTIONS)) expect(SERVE_HELP).toContain(`--${name}`);
  expect(SERVE_HELP.split('\n').filter((line) => line.length > 100)).toEqual([]);
});
