import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { BodyBudget } from '../../src/admin/body.ts';
import { Call } from '../../src/admin/call.ts';
import { LongCalls } from '../../src/admin/long-calls.ts';

test('a call that has ended sets nothing aside, which nobody would give back', () => {
  const request = new IncomingMessage(new Socket());
  const [parameters, query] = [new Map<string, string>(), new Map<string, string>()];
  const parts = { request, response: new ServerResponse(request), parameters, query };
  const budget = new BodyBudget(100);
  const call = new Call({ ...parts, budget, longCalls: new LongCalls() });
  call.reserve(60);
  expect(budget.usedBytes).toBe(60);
  call.release();
  expect(() => call.reserve(1)).toThrow('hung up');
  expect(budget.usedBytes).toBe(0);
});
