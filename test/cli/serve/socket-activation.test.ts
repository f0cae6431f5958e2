import { expect, test } from 'vitest';
import { takeInheritedSockets } from '../../../src/cli/serve/socket-activation.ts';

const PID = 4711;

test('takeInheritedSockets counts descriptors from 3', () => {
  const env = { LISTEN_PID: '4711', LISTEN_FDS: '2' };
  expect(takeInheritedSockets(env, PID)).toEqual([
    { kind: 'fd', fd: 3 },
    { kind: 'fd', fd: 4 },
  ]);
});

test.each([
  ['no variables', {}],
  ['the pid of another process', { LISTEN_PID: '4712', LISTEN_FDS: '1' }],
  ['no pid', { LISTEN_FDS: '1' }],
  ['no count', { LISTEN_PID: '4711' }],
  ['a count of 0', { LISTEN_PID: '4711', LISTEN_FDS: '0' }],
  ['garbage for another process', { LISTEN_PID: '1', LISTEN_FDS: 'x' }],
])('takeInheritedSockets takes nothing from %s', (_, env) => {
  expect(takeInheritedSockets(env, PID)).toEqual([]);
});

test.each(['', '-1', 'x', '1.5', '257', '1e2'])(
  'takeInheritedSockets refuses %j sockets',
  (text) => {
    const env = { LISTEN_PID: '4711', LISTEN_FDS: text };
    expect(() => takeInheritedSockets(env, PID)).toThrow(/LISTEN_FDS is .*; unset it/);
  },
);

test('takeInheritedSockets leaves nothing for child processes, whoever the variables were for', () => {
  const env = { LISTEN_PID: '1', LISTEN_FDS: '1', LISTEN_FDNAMES: 'a', PATH: '/bin' };
  takeInheritedSockets(env, PID);
  expect(env).toEqual({ PATH: '/bin' });
});
