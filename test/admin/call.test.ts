import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { BodyBudget } from '../../src/admin/http/body.ts';
import { Call } from '../../src/admin/http/call.ts';
import { LongCalls } from '../../src/admin/http/long-calls.ts';

/** A call that nobody sent, and what it stands on. */
function newCall() {
  const request = new IncomingMessage(new Socket());
  const response = new ServerResponse(request);
  const [parameters, query] = [new Map<string, string>(), new Map<string, string>()];
  const budget = new BodyBudget(100);
  const longCalls = new LongCalls();
  const call = new Call({ request, response, parameters, query, budget, longCalls });
  return { call, request, response, budget };
}

test('a call that has ended sets nothing aside, which nobody would give back', () => {
  const { call, budget } = newCall();
  call.reserve(60);
  expect(budget.usedBytes).toBe(60);
  call.release();
  expect(() => call.reserve(1)).toThrow('hung up');
  expect(budget.usedBytes).toBe(0);
});

test('a long call is aborted in time or by a hang-up, and leaves no timer or listener', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { call, response } = newCall();
  const aborted = (signal: AbortSignal): Promise<string> =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve('aborted'));
    });
  expect(await call.takeLong(async () => 'done', 3_600_000)).toBe('done');
  expect([vi.getTimerCount(), response.listenerCount('close')]).toEqual([0, 0]);
  const late = call.takeLong(aborted, 1000);
  vi.advanceTimersByTime(1000);
  expect(await late).toBe('aborted');
  const abandoned = call.takeLong(aborted, 1000);
  response.emit('close');
  expect(await abandoned).toBe('aborted');
  expect([vi.getTimerCount(), response.listenerCount('close')]).toEqual([0, 0]);
});

test('a connection may be silent during a long call, and only then', async () => {
  const { call, request } = newCall();
  request.socket.setTimeout(10_000);
  onTestFinished(() => void request.socket.destroy());
  expect(await call.takeLong(async () => request.socket.timeout)).toBe(0);
  expect(request.socket.timeout).toBe(10_000);
});
