import { expect, test } from 'vitest';
import { Command, NbdErrno } from '../../src/nbd/protocol.ts';
import { ServerStatistics } from '../../src/nbd/statistics.ts';
import { quietExport, scrape, sourcesOf, sumOf } from './scraped.ts';

test('requests are told by export, command and the name of their error', async () => {
  const server = new ServerStatistics();
  server.requestsOf('a').count(Command.READ, 0);
  server.requestsOf('a').count(Command.READ, NbdErrno.EIO);
  server.requestsOf('b').count(Command.WRITE, NbdErrno.ENOSPC);
  server.requestsOf('b').count(99, NbdErrno.EINVAL);
  const exports = [quietExport('a'), quietExport('b')];
  const samples = await scrape(sourcesOf({ server, exports }));
  const of = (name: string, command: string, error: string) =>
    samples.get(`tmem_nbd_requests_total{export="${name}",command="${command}",error="${error}"}`);
  expect(of('a', 'read', '')).toBe(1);
  expect(of('a', 'read', 'EIO')).toBe(1);
  expect(of('b', 'write', 'ENOSPC')).toBe(1);
  expect(of('b', 'unknown', 'EINVAL')).toBe(1);
  expect(sumOf(samples, 'tmem_nbd_requests_total')).toBe(4);
});

test('requests that nobody made yet are there as zeros', async () => {
  const samples = await scrape(sourcesOf());
  const series = 'tmem_nbd_requests_total{export="disk",command="trim",error=""}';
  expect(samples.get(series)).toBe(0);
});

test('the latency histogram is cumulative and ends with everything', async () => {
  const server = new ServerStatistics();
  const read = server.latencies[Command.READ]!;
  read.record(0.000005, 10);
  read.record(0.00001, 1); // on the bound: in its bucket
  read.record(0.3, 2);
  read.record(60, 1);
  const samples = await scrape(sourcesOf({ server }));
  const bucket = (le: string) =>
    samples.get(`tmem_nbd_request_seconds_bucket{le="${le}",command="read"}`);
  expect(['0.00001', '0.000025', '0.25', '0.5', '10', '+Inf'].map(bucket)).toEqual([
    11, 11, 11, 13, 13, 14,
  ]);
  expect(samples.get('tmem_nbd_request_seconds_count{command="read"}')).toBe(14);
  const sum = samples.get('tmem_nbd_request_seconds_sum{command="read"}');
  expect(sum).toBeCloseTo(0.00005 + 0.00001 + 0.6 + 60, 9);
  expect(samples.get('tmem_nbd_request_seconds_count{command="write"}')).toBe(0);
});

test('a disconnect is counted, and has no latency: it has no reply', async () => {
  const server = new ServerStatistics();
  server.requestsOf('disk').count(Command.DISC, 0);
  const samples = await scrape(sourcesOf({ server }));
  const series = 'tmem_nbd_requests_total{export="disk",command="disconnect",error=""}';
  expect(samples.get(series)).toBe(1);
  expect(samples.has('tmem_nbd_request_seconds_count{command="disconnect"}')).toBe(false);
});

test('connections are those open now, and what became of the others', async () => {
  const server = new ServerStatistics();
  Object.assign(server, { connections: 2, accepted: 9, refused: 3, failedHandshakes: 4 });
  server.violations = 5;
  const samples = await scrape(sourcesOf({ server }));
  expect(samples.get('tmem_nbd_connections')).toBe(2);
  expect(samples.get('tmem_nbd_connections_accepted_total')).toBe(9);
  expect(samples.get('tmem_nbd_connections_refused_total')).toBe(3);
  expect(samples.get('tmem_nbd_handshakes_failed_total')).toBe(4);
  expect(samples.get('tmem_nbd_violations_total')).toBe(5);
});
