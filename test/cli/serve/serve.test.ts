import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { serve } from '../../../src/cli/serve/serve.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import type { StartService } from '../../../src/service/settings.ts';
import { ScriptedContext, ScriptedService } from '../scripted-context.ts';

let context: ScriptedContext;
let service: ScriptedService;

beforeEach(() => {
  context = new ScriptedContext();
  service = new ScriptedService();
});

const run = (...args: string[]) => serve(['--memory', '64MiB', ...args], context, service.start);

/** Waits until the command listens for signals and has announced, or refused to announce. */
const started = () => vi.waitFor(() => expect(service.log).toContain('start'));

async function runToEnd(...args: string[]): Promise<number> {
  const code = run(...args);
  await started();
  context.signals.emit('SIGTERM', 'SIGTERM');
  return code;
}

test('serve passes settings on, prints what is served, and exits 0 after a drain', async () => {
  expect(await runToEnd('x=disk.raw', '--buffered', '--admin', 'none', '--hot', '0')).toBe(0);
  expect(service.log).toEqual(['start', 'stop']);
  expect(service.settings).toEqual({
    memoryBytes: 64 * 1024 * 1024,
    hotFraction: 0,
    policyName: 's3fifo-cw',
    pageBytes: 4096,
    exports: [
      {
        name: 'x',
        path: '/srv/disk.raw',
        mode: 'writethrough',
        opening: {
          format: undefined,
          backingFormat: undefined,
          passphrase: undefined,
          loadSnapshot: undefined,
          copyBytesPerSecond: undefined,
        },
        share: { weight: 100, capBytes: undefined, minimumBytes: 0 },
      },
    ],
    swaps: [],
    ramDisks: [],
    allowBacking: [],
    dirtyLimitBytes: 16 * 1024 * 1024,
    drainMsMax: 60_000,
    snapshotPath: undefined,
    record: undefined,
    hasGovernor: true,
    hasAdvisor: true,
    token: undefined,
    listen: [{ kind: 'tcp', host: '127.0.0.1', port: 10809 }],
    admin: undefined,
    codec: 'auto',
    spinMicroseconds: 150,
    wantsDirect: false,
    maxConnections: 100,
    handshakeTimeoutMs: 10_000,
  });
  expect(context.out).toMatch(
    /a b, 1.5GiB \(1610612736 bytes\), read-only\n +nbd:\/\/h:1\/a%20b\n +nbd:\/\/h:1\/\n/,
  );
  expect(context.out).toMatch(/http:\/\/h:2\/metrics\n.*1GiB\n.*lz4\n$/);
  expect(context.signals.eventNames()).toEqual([]);
});

test('serve --json prints one line that a program can read', async () => {
  await runToEnd('disk.raw', '--json');
  expect(context.out.match(/\n/g)).toHaveLength(1);
  expect(JSON.parse(context.out)).toMatchObject({
    exports: service.exports,
    metricsUrl: 'http://h:2/metrics',
    memoryLimitBytes: 1024 ** 3,
    codec: 'lz4',
  });
});

describe('serve under socket activation', () => {
  beforeEach(() => Object.assign(context.env, { LISTEN_PID: '4711', LISTEN_FDS: '1' }));

  test('listens on the inherited socket alone, without an admin port, in silence', async () => {
    expect(await runToEnd('disk.raw', '--listen', 'unix:s')).toBe(0);
    expect(service.settings?.listen).toEqual([{ kind: 'fd', fd: 3 }]);
    expect(service.settings?.admin).toBeUndefined();
    expect(context.out + context.err).toBe('');
  });

  test('leaves stdout alone also with --verbose', async () => {
    await runToEnd('disk.raw', '--verbose');
    expect(context.out).toBe('');
    expect(context.err).toContain('nbd://h:1/a%20b');
  });
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
])('serve ends at once at a second signal, %s with %d', async (signal, exitCode) => {
  let drain: () => void = () => {};
  service.drained = new Promise((resolve) => {
    drain = resolve;
  });
  const code = run('disk.raw');
  await started();
  context.signals.emit('SIGTERM', 'SIGTERM');
  await vi.waitFor(() => expect(service.log).toContain('stop'));
  expect(context.exitCodes).toEqual([]);
  context.signals.emit(signal, signal);
  expect(service.log).toEqual(['start', 'stop', 'abort']);
  expect(context.exitCodes).toEqual([exitCode]);
  drain();
  await code;
});

test('serve exits 1 with the reason when it cannot drain', async () => {
  service.drained = Promise.reject(new TmemError('invalid', 'the image could not be synced'));
  service.drained.catch(() => {});
  expect(await runToEnd('disk.raw')).toBe(1);
  expect(context.err).toBe('tmem: the image could not be synced\n');
});

test('serve passes on why it could not start, and gives the signals back', async () => {
  const start: StartService = () => Promise.reject(new TmemError('busy', 'the port is taken'));
  await expect(serve(['disk.raw'], context, start)).rejects.toThrow('the port is taken');
  expect(context.signals.eventNames()).toEqual([]);
});

test.each([['--token-file'], ['--passphrase-file']])(
  'serve %s reads it before it listens to signals, which end who waits for a pipe',
  async (option) => {
    const watch = vi.spyOn(context, 'watchStopSignals');
    await expect(run('x=disk.raw', option, 'none')).rejects.toThrow(
      /cannot read the .*\/srv\/none/,
    );
    expect(watch).not.toHaveBeenCalled();
  },
);

test('serve --print-config starts nothing', async () => {
  expect(await run('x=disk.raw', '--print-config')).toBe(0);
  expect(context.out).toMatch(/^exports:\n {2}- name: x\n {4}path: \/srv\/disk.raw\n/);
  expect(service.log).toEqual([]);
});

test('serve that has stopped waits 5 s for who reads its log, and no longer', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  context.read = new Promise(() => undefined);
  const code = run('disk.raw');
  await vi.waitFor(() => expect(service.log).toEqual(['start']));
  context.signals.emit('SIGTERM', 'SIGTERM');
  await vi.advanceTimersByTimeAsync(4_900);
  expect(context.exitCodes).toEqual([]);
  await vi.advanceTimersByTimeAsync(200);
  expect([await code, context.exitCodes]).toEqual([0, [0]]);
});

test('serve that has stopped ends the process itself where a thread hangs on a disk', async () => {
  await runToEnd('disk.raw');
  expect(context.exitCodes).toEqual([]);
  context = new ScriptedContext();
  service = new ScriptedService();
  context.isStuck = true;
  await runToEnd('disk.raw');
  expect(context.exitCodes).toEqual([0]);
});

test('serve that makes the demonstration image leaves no half-drawn line when it is stopped', async () => {
  const cache = mkdtempSync(join(tmpdir(), 'tmem-serve-'));
  onTestFinished(() => rmSync(cache, { recursive: true }));
  context.env.XDG_CACHE_HOME = cache;
  Object.assign(context, { isTerminal: true });
  const print = context.stderr.bind(context);
  context.stderr = (text) => {
    print(text);
    if (text.includes(' 1 %')) context.signals.emit('SIGINT', 'SIGINT');
  };
  expect(await run()).toBe(0);
  expect(context.err).toMatch(/^tmem: making the demonstration image .*demo\.raw\n/);
  expect(context.err.endsWith(' 1 %\r\u001b[K')).toBe(true);
  expect(service.log).toEqual([]);
});
