/** What came of a replay against a server, for people. */

import { formatCount, formatRate, formatSeconds } from '../../lib/quantities.ts';
import { formatSize } from '../../lib/sizes.ts';
import type { Percentiles } from '../../replay/live/latencies.ts';
import type { LiveOp, LiveResult } from '../../replay/live/live.ts';
import { type Column, formatTable } from '../terminal/table.ts';

interface Row {
  readonly name: string;
  readonly count: string;
  readonly bytes: string;
  readonly errors: string;
  readonly times: Percentiles;
}

const TIMES = ['p50', 'p90', 'p99', 'p999', 'max'] as const;

function duration(us: number): string {
  if (us < 1000) return `${us.toFixed(us < 10 ? 1 : 0)} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 10_000 ? 2 : 1)} ms`;
  return `${(us / 1e6).toFixed(2)} s`;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'LATENCY', cell: ({ name }) => name },
  { title: 'REQUESTS', align: 'right', cell: ({ count }) => count },
  { title: 'BYTES', align: 'right', cell: ({ bytes }) => bytes },
  { title: 'ERRORS', align: 'right', cell: ({ errors }) => errors },
  ...TIMES.map(
    (name): Column<Row> => ({
      title: name === 'p999' ? 'P99.9' : name.toUpperCase(),
      align: 'right',
      cell: ({ times }) => duration(times[name]),
    }),
  ),
];

function rowOf([name, { requests, bytes, errors, latencyUs }]: readonly [string, LiveOp]): Row {
  const failed = Object.values(errors).reduce((sum, count) => sum + count, 0);
  return {
    ...{ name, times: latencyUs, bytes: formatSize(bytes) },
    ...{ count: formatCount(requests), errors: formatCount(failed) },
  };
}

function notesOf(result: LiveResult): string[] {
  const { leftOut, wrapped, stalls, ops, depth, connections } = result;
  const notes: string[] = [];
  if (leftOut.changes > 0) {
    const count = formatCount(leftOut.changes);
    notes.push(
      `${count} writes, trims, zeroes and flushes were left out; --allow-writes replays them`,
    );
  }
  if (leftOut.unsupported > 0) {
    notes.push(
      `${formatCount(leftOut.unsupported)} requests were left out: the server has no such command`,
    );
  }
  if (leftOut.empty > 0)
    notes.push(`${formatCount(leftOut.empty)} requests of no byte were left out`);
  if (wrapped > 0) notes.push(`${formatCount(wrapped)} requests were folded into the export`);
  for (const [name, { errors }] of Object.entries(ops)) {
    for (const [errno, count] of Object.entries(errors)) {
      notes.push(`${formatCount(count)} of ${name} failed with ${errno}`);
    }
  }
  if ((stalls ?? 0) > 0) {
    const room = `${formatCount(depth * connections)} requests under way`;
    notes.push(`${formatCount(stalls ?? 0)} requests waited behind ${room}: see the lag`);
  }
  return notes;
}

/** Whole lines. */
export function formatLive(result: LiveResult, place: string): string {
  const { requests, elapsedSeconds, plannedSeconds, speed, lagUs, ops } = result;
  const rate = formatRate(elapsedSeconds > 0 ? requests / elapsedSeconds : 0);
  const how =
    plannedSeconds === null
      ? 'as fast as possible'
      : `at ${speed}× the recorded speed, planned ${formatSeconds(plannedSeconds)}`;
  const rows = Object.entries(ops)
    .filter(([, each]) => each.requests > 0)
    .map(rowOf);
  const blank = { count: '', bytes: '', errors: '' };
  if (lagUs !== null) rows.push({ name: 'lag of the driver', ...blank, times: lagUs });
  const head = `${formatCount(requests)} requests of ${result.trace} to ${place}\n`;
  const line = `${formatSeconds(elapsedSeconds)}, ${rate}, ${how}\n\n`;
  const notes = notesOf(result).map((note) => `${note}\n`);
  return head + line + formatTable(COLUMNS, rows) + (notes.length > 0 ? '\n' : '') + notes.join('');
}
