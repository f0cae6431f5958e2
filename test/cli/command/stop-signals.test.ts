import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { watchStopSignals } from '../../../src/cli/command/stop-signals.ts';

function watched() {
  const source = new EventEmitter();
  const signals = watchStopSignals(source);
  const seconds: number[] = [];
  signals.onSecond((exitCode) => seconds.push(exitCode));
  const send = (signal: string) => source.emit(signal, signal);
  return { source, signals, seconds, send };
}

test.each([
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
])('%s asks to stop, with %d for who stops for it', (signal, exitCode) => {
  const { signals, seconds, send } = watched();
  send(signal);
  expect([signals.first.aborted, signals.exitCode, seconds]).toEqual([true, exitCode, []]);
});

test('a terminal that is gone hurries nobody, however often it says so', () => {
  const { signals, seconds, send } = watched();
  send('SIGTERM');
  send('SIGHUP');
  send('SIGHUP');
  expect([signals.exitCode, seconds]).toEqual([143, []]);
  send('SIGINT');
  expect(seconds).toEqual([130]);
});

test('the signals have their effect again at the end', () => {
  const { source, signals } = watched();
  signals.dispose();
  expect(source.eventNames()).toEqual([]);
});
