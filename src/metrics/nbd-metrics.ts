/** Metrics of the NBD server: requests and how long they took, connections and what ended them. */

import { counter, gauge, histogram, type MetricDefinition } from './definition.ts';

/** A counter that the server keeps in one field. */
function ofServer(
  name: `${string}_total`,
  help: string,
  field: 'accepted' | 'refused' | 'failedHandshakes' | 'violations',
): MetricDefinition {
  return counter(name, help, [], ({ server }, set) => set(server[field], {}));
}

export const NBD_METRICS: readonly MetricDefinition[] = [
  counter(
    'tmem_nbd_requests_total',
    'Requests answered, and disconnects; error is empty, or the name of the error that was sent.',
    ['export', 'command', 'error'],
    ({ server, exports, vocabulary }, set) => {
      for (const { name } of exports) {
        const answered = zeroes(vocabulary.commands);
        server.requests.get(name)?.forEach((command, errno, count) => {
          if (errno === 0) answered.set(command, count);
          else set(count, { export: name, command, error: errorName(vocabulary.errnos, errno) });
        });
        // From the start, so that the first request is a change and not a beginning.
        for (const [command, count] of answered) set(count, { export: name, command, error: '' });
      }
    },
  ),
  histogram(
    'tmem_nbd_request_seconds',
    'Time from taking a request to handing over its reply, be it an error.',
    ['command'],
    ({ vocabulary }) => vocabulary.latencyBoundsSeconds,
    ({ server, vocabulary }, set) => {
      for (const [number, { counts, sumSeconds }] of server.latencies.entries()) {
        const command = vocabulary.commands[number] ?? String(number);
        // It has no reply: a series that is 0 for ever would only puzzle.
        if (command === 'disconnect') continue;
        set({ counts, sum: sumSeconds }, { command });
      }
    },
  ),
  gauge('tmem_nbd_connections', 'Connections that are open.', [], ({ server }, set) => {
    set(server.connections, {});
  }),
  ofServer('tmem_nbd_connections_accepted_total', 'Connections that were admitted.', 'accepted'),
  ofServer(
    'tmem_nbd_connections_refused_total',
    'Connections turned away: there were too many, or the server was stopping.',
    'refused',
  ),
  ofServer(
    'tmem_nbd_handshakes_failed_total',
    'Connections that ended before they came to transmission.',
    'failedHandshakes',
  ),
  ofServer(
    'tmem_nbd_violations_total',
    'Connections dropped because the client broke the protocol.',
    'violations',
  ),
];

function zeroes(commands: readonly string[]): Map<string, number> {
  return new Map(commands.map((command) => [command, 0]));
}

function errorName(errnos: Readonly<Record<string, number>>, errno: number): string {
  for (const [name, number] of Object.entries(errnos)) if (number === errno) return name;
  return String(errno);
}
