import { describe, expect, test } from 'vitest';
import { resolveConfig, type Surroundings } from '../../src/config/effective.ts';
import { parseConfig, whereItIsSet } from '../../src/config/load.ts';
import { formatConfig } from '../../src/config/print.ts';
import type { RequestedConfig } from '../../src/config/schema.ts';
import { fc } from '../tools/seed.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const AROUND: Surroundings = {
  memory: { bytes: 10 * GIB + 12_345, owner: 'this cgroup' },
  isActivated: false,
};

const DEFAULT_SHARE = { weight: 100, capBytes: undefined, minimumBytes: 0 };

const resolve = (file: RequestedConfig, options: RequestedConfig = {}) =>
  resolveConfig(file, options, AROUND);

const AS_THE_NAME_SAYS = {
  format: undefined,
  backingFormat: undefined,
  passphraseFile: undefined,
  loadSnapshot: undefined,
  copyBase: undefined,
};

test('resolveConfig without wishes gives the documented defaults', () => {
  expect(resolve({})).toEqual({
    exports: [],
    swaps: [],
    ramDisks: [],
    mode: 'writethrough',
    opening: AS_THE_NAME_SAYS,
    allowBacking: [],
    dirtyLimitBytes: 640 * MIB,
    drainSeconds: 60,
    snapshotPath: undefined,
    record: { path: undefined, directory: undefined, limitBytes: 1024 ** 3, sampleRate: 1 },
    hasGovernor: true,
    hasAdvisor: true,
    tokenFile: undefined,
    memoryBytes: 2.5 * GIB,
    hotFraction: 0.25,
    policy: 's3fifo-cw',
    listen: [{ kind: 'tcp', host: '127.0.0.1', port: 10809 }],
    admin: { kind: 'tcp', host: '127.0.0.1', port: 9842 },
    spinMicroseconds: 150,
    isBuffered: false,
    io: 'auto',
    codec: 'auto',
    pageBytes: 4096,
    maxConnections: 100,
    handshakeTimeoutMs: 10_000,
  });
});

test('resolveConfig lets an option override the file, and replaces lists as a whole', () => {
  const file: RequestedConfig = {
    memory: GIB,
    spin: 7,
    exports: [{ path: '/a' }, { path: '/b', mode: 'read-only' }],
  };
  const config = resolve(file, { memory: 64 * MIB, exports: [{ path: '/c' }] });
  expect(config.memoryBytes).toBe(64 * MIB);
  expect(config.spinMicroseconds).toBe(7);
  expect(config.exports).toEqual([
    {
      name: 'c',
      path: '/c',
      mode: 'writethrough',
      opening: AS_THE_NAME_SAYS,
      share: DEFAULT_SHARE,
    },
  ]);
});

test('resolveConfig takes the mode of the options, then of the export, then of the file', () => {
  const file: RequestedConfig = {
    mode: 'read-only',
    exports: [{ path: '/a' }, { path: '/b', mode: 'writethrough' }],
  };
  const modes = (options: RequestedConfig) => resolve(file, options).exports.map((e) => e.mode);
  expect(modes({})).toEqual(['read-only', 'writethrough']);
  expect(modes({ mode: 'read-only' })).toEqual(['read-only', 'read-only']);
});

test('resolveConfig takes how an image is opened from the export, then from the file', () => {
  const file: RequestedConfig = {
    format: 'qcow2',
    passphraseFile: '/p',
    exports: [{ path: '/a' }, { path: '/b', format: 'raw' }],
  };
  const openings = resolve(file).exports.map(({ opening }) => opening);
  expect(openings).toEqual([
    { ...AS_THE_NAME_SAYS, format: 'qcow2', passphraseFile: '/p' },
    { ...AS_THE_NAME_SAYS, format: 'raw', passphraseFile: '/p' },
  ]);
});

test('resolveConfig has an admin port under socket activation only when asked for', () => {
  const around = { ...AROUND, isActivated: true };
  const admin = { kind: 'tcp', host: 'h', port: 1 } as const;
  expect(resolveConfig({}, {}, around).admin).toBeUndefined();
  expect(resolveConfig({ admin }, {}, around).admin).toEqual(admin);
  expect(resolveConfig({ admin }, { admin: 'none' }, AROUND).admin).toBeUndefined();
});

test('resolveConfig never defaults to less than the least memory that it accepts', () => {
  const around = { ...AROUND, memory: { bytes: 40 * MIB, owner: 'this cgroup' } };
  expect(resolveConfig({}, {}, around).memoryBytes).toBe(32 * MIB);
});

describe('resolveConfig refuses', () => {
  test.each<[string, RequestedConfig, RegExp]>([
    ['too little memory', { memory: 31 * MIB }, /memory is 31MiB; it must be at least 32MiB/],
    ['more memory than there is', { memory: 11 * GIB }, /this cgroup has 10GiB; choose less/],
    [
      'odd page sizes',
      { pageSize: 5000 },
      /pageSize is 5000 bytes \(4.88KiB\); it must be a power of two/,
    ],
    ['large page sizes', { pageSize: 131_072 }, /pageSize is 128KiB/],
    [
      'two exports of one name',
      { exports: [{ path: '/a/x.raw' }, { path: '/b/x.raw' }] },
      /both \/a\/x.raw and \/b\/x.raw would be the export "x.raw"; .* NAME=IMAGE/,
    ],
    [
      'to write a snapshot inside an image',
      { exports: [{ path: '/a/x.qcow2', loadSnapshot: 'monday' }] },
      /a snapshot in \/a\/x.qcow2 can only be read; give it the mode read-only/,
    ],
    [
      'RAM disks that do not fit',
      {
        ram: [
          { name: 'a', size: 6 * GIB },
          { name: 'b', size: 6 * GIB },
        ],
      },
      /the RAM disks come to 12GiB, but this cgroup has 10GiB; choose less/,
    ],
    [
      'a RAM disk of a name that is taken',
      { exports: [{ path: '/x' }], ram: [{ name: 'x', size: 512 }] },
      /there are two exports "x"/,
    ],
    ['an image without a name', { exports: [{ path: '/' }] }, /needs a name/],
  ])('%s', (_, file, message) => {
    expect(() => resolve(file)).toThrow(message);
  });
});

test.each([
  [
    'hot: 0\nmemory: 900GiB',
    'memory: 64MiB',
    /^\/a\.yaml:2: memory is 900GiB, but this cgroup has/,
  ],
  ['pageSize: 5000', '', /^\/a\.yaml:1: pageSize is 5000 bytes/],
  ['memory: 32MiB\ndirtyLimit: 1GiB', '', /^\/a\.yaml:2: dirtyLimit is 1GiB/],
  [
    'memory: 64MiB\nexports:\n- path: /a\n- path: /b\n  minimum: 65MiB',
    '',
    /^\/a\.yaml:5: the minimum of "b" is 65MiB/,
  ],
  ['exports:\n- path: /x\n- path: /y/x', '', /^\/a\.yaml:3: both \/x and \/y\/x would be/],
  [
    'swap:\n- name: s\n  size: 1M\n- name: s\n  size: 1M',
    '',
    /^\/a\.yaml:4: there are two exports/,
  ],
  [
    'ram:\n- name: s\n  size: 1M\n- name: t\n  size: 11G',
    '',
    /^\/a\.yaml:5: the RAM disks come to/,
  ],
])(
  'what only the whole of %j tells to be wrong is said where it is set',
  (text, other, message) => {
    const file = parseConfig(text, '/a.yaml');
    const refusal = (options: RequestedConfig) => {
      try {
        return resolve(file.config, options);
      } catch (error) {
        return whereItIsSet(error, file, options);
      }
    };
    expect(refusal({})).toMatchObject({ kind: 'usage', message: expect.stringMatching(message) });
    // An option has no line.
    if (other === '') return;
    expect(refusal(parseConfig(other, '/b.yaml').config)).toMatchObject({ memoryBytes: 64 * MIB });
    expect(refusal({ memory: 901 * GIB })).toMatchObject({
      message: expect.stringMatching(/^memory is 901GiB/),
    });
  },
);

test('formatConfig prints what loads back to the same configuration, even under odd names', () => {
  const address = fc.oneof(
    fc.record({ kind: fc.constant('unix' as const), path: fc.constantFrom('/s k', '/a#: b') }),
    fc.record({
      kind: fc.constant('tcp' as const),
      host: fc.constantFrom('::1', 'localhost', '0.0.0.0'),
      port: fc.integer({ min: 0, max: 65_535 }),
    }),
  );
  const mode = fc.constantFrom('read-only' as const, 'writethrough' as const);
  const name = fc.string({ minLength: 1, unit: 'binary' }).filter((text) => !text.includes('\0'));
  const path = fc.constantFrom('/i m: #"\n.raw', '/- x');
  const format = fc.constantFrom('raw' as const, 'qcow2' as const);
  const share = {
    weight: fc.integer({ min: 1, max: 10_000 }),
    cap: fc.integer({ min: MIB, max: GIB }),
    minimum: fc.integer({ min: 0, max: MIB }),
  };
  const opening = {
    format,
    backingFormat: format,
    passphraseFile: path,
    copyBase: fc.integer({ min: 65_536, max: GIB }),
  };
  /** Some of a few things that have names, which no two of one kind share. */
  const named = <Item extends object>(kind: string, item: fc.Arbitrary<Item>) =>
    fc
      .array(item, { maxLength: 3 })
      .chain((list) =>
        fc
          .uniqueArray(name, { minLength: list.length, maxLength: list.length })
          .map((names) => list.map((each, at) => ({ ...each, name: `${kind}${names[at]}` }))),
      );
  const sectors = fc.integer({ min: 2048, max: 100_000 }).map((count) => count * 512);
  const exportItem = fc.record({ path, mode, ...opening, ...share }, { requiredKeys: ['path'] });
  const swapItem = fc.record(
    { size: sectors, overflow: path, ...share },
    { requiredKeys: ['size'] },
  );
  const request = fc.record(
    {
      exports: named('e', exportItem),
      swap: named('s', swapItem),
      ram: named('r', fc.record({ size: sectors })),
      ...opening,
      allowBacking: fc.array(path, { maxLength: 2 }),
      dirtyLimit: fc.integer({ min: 4 * MIB, max: 32 * MIB }),
      drainTimeout: fc.integer({ min: 1, max: 86_400 }),
      snapshot: path,
      record: path,
      recordDir: path,
      recordLimit: fc.integer({ min: 65_536, max: GIB }),
      recordSample: fc.integer({ min: 1, max: 1e6 }).map((millionths) => millionths / 1e6),
      governor: fc.boolean(),
      advisor: fc.boolean(),
      tokenFile: path,
      codec: fc.constantFrom('auto' as const, 'lz4' as const),
      pageSize: fc.constantFrom(4096, 65_536),
      maxConnections: fc.integer({ min: 1, max: 65_536 }),
      handshakeTimeoutMs: fc.integer({ min: 1, max: 3_600_000 }),
      mode,
      memory: fc.integer({ min: 32 * MIB, max: 10 * GIB }),
      hot: fc.integer({ min: 0, max: 1e6 }).map((millionths) => millionths / 1e6),
      listen: fc.array(address, { minLength: 1, maxLength: 3 }),
      admin: fc.oneof(fc.constant('none' as const), address),
      policy: fc.constantFrom('lru' as const, 's3fifo-cw' as const),
      spin: fc.integer({ min: 0, max: 10_000 }),
      buffered: fc.boolean(),
      io: fc.constantFrom('auto' as const, 'threads' as const),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(request, (file) => {
      const config = resolve(file);
      const { config: loaded } = parseConfig(formatConfig(config), '/elsewhere/tmem.yaml');
      expect(resolve(loaded)).toEqual(config);
    }),
  );
});

test('resolveConfig refuses to guarantee more than half of the memory', () => {
  const export_ = (path: string, minimum: number) => ({ path, minimum });
  const file = { memory: GIB, exports: [export_('/a', 400 * MIB), export_('/b', 100 * MIB)] };
  expect(resolve(file).exports.map(({ share }) => share.minimumBytes)).toEqual([
    400 * MIB,
    100 * MIB,
  ]);
  const more = { ...file, swap: [{ name: 's', size: GIB, minimum: 13 * MIB }] };
  expect(() => resolve(more)).toThrow(/the minimums come to 513MiB/);
});

test('formatConfig prints sizes that no suffix says as numbers', () => {
  const text = formatConfig(resolve({ exports: [{ path: '/a' }], memory: 100 * MIB + 1 }));
  expect(text).toMatch(/^memory: 104857601$/m);
  expect(text).toMatch(/^ +minimum: 0$/m);
});

test('resolveConfig says whose minimum is too much, and for what', () => {
  const capped = { exports: [{ path: '/a' }, { path: '/b', cap: MIB, minimum: 3 * MIB }] };
  expect(() => resolve(capped)).toThrow(
    'the minimum of "b" is 3MiB, more than its cap, 1MiB; choose less',
  );
  const swap = { memory: GIB, swap: [{ name: 's', size: GIB, minimum: 2 * GIB }] };
  expect(() => resolve(swap)).toThrow(
    'the minimum of "s" is 2GiB, more than the memory, 1GiB; choose less',
  );
});

test.each([512, 513, 6144])('a machine of %i GiB is served by 128 GiB by default', (gib) => {
  const memory = { bytes: gib * GIB, owner: 'this machine' };
  const around = { ...AROUND, memory };
  expect(resolveConfig({}, {}, around).memoryBytes).toBe(128 * GIB);
  expect(resolveConfig({}, { memory: 128 * GIB }, around).memoryBytes).toBe(128 * GIB);
  expect(() => resolveConfig({}, { memory: 129 * GIB }, around)).toThrow(
    'memory is 129GiB; one service takes at most 128GiB, so start several',
  );
});
