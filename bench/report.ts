/** Shows a comparison on a terminal, and keeps it as JSON with what it was measured on. */
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { BenchImage } from './image.ts';
import type { BenchOptions } from './options.ts';
import type { Processes } from './processes.ts';
import {
  bestPeer,
  type CaseSummary,
  type Sample,
  type ServerMedians,
  type Verdict,
} from './summary.ts';
import type { ToolSummary } from './tool-summary.ts';
import type { ToolSample } from './tools.ts';

/** The machine and the programs a comparison was made with. */
export interface Surroundings {
  readonly date: string;
  readonly command: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryMib: number;
  readonly kernel: string;
  readonly node: string;
  /** Of the minute before the start: above a few tenths, something else was running. */
  readonly loadAverage: number;
  readonly versions: Readonly<Record<string, string>>;
}

/** What a run leaves behind. */
export interface BenchResult {
  readonly surroundings: Surroundings;
  readonly options: BenchOptions;
  readonly image: BenchImage;
  readonly commands: Readonly<Record<string, string>>;
  readonly cases: readonly CaseSummary[];
  readonly samples: readonly Sample[];
  readonly tools: readonly ToolSummary[];
  readonly toolSamples: readonly ToolSample[];
}

/** Asks the machine and the tools what they are. */
export async function describeSurroundings(
  processes: Processes,
  projectFolder: string,
): Promise<Surroundings> {
  const firstLine = async (command: string, ...args: string[]) => {
    const { stdout } = await processes.run(command, args);
    return stdout.split('\n', 1)[0] ?? '';
  };
  const { version }: { version: string } = JSON.parse(
    readFileSync(join(projectFolder, 'package.json'), 'utf8'),
  );
  const revision = await firstLine(
    'git',
    '-C',
    projectFolder,
    'rev-parse',
    '--short',
    'HEAD',
  ).catch(() => 'unknown');
  const model = cpus()[0]?.model ?? 'unknown';
  return {
    date: new Date().toISOString(),
    command: [
      'npm run bench',
      ...(process.argv.length > 2 ? ['--'] : []),
      ...process.argv.slice(2),
    ].join(' '),
    cpu: model,
    cores: cpus().length,
    memoryMib: Math.round(totalmem() / 1024 ** 2),
    kernel: release(),
    node: process.version,
    loadAverage: loadavg()[0] ?? 0,
    versions: {
      tmem: `${version} (${revision})`,
      fio: await firstLine('fio', '--version'),
      nbdkit: await firstLine('nbdkit', '--version'),
      'qemu-nbd': await firstLine('qemu-nbd', '--version'),
      libnbd: await firstLine('nbdcopy', '--version'),
    },
  };
}

/** The whole comparison as lines for a terminal. */
export function renderReport(cases: readonly CaseSummary[]): string {
  const lines = cases.flatMap((summary) => [...renderCase(summary), '']);
  const verdicts = cases.flatMap((summary) => summary.verdicts);
  if (verdicts.length > 0) lines.push(countReached(verdicts));
  return lines.join('\n');
}

function renderCase({ load, servers, verdicts, faults }: CaseSummary): string[] {
  const yardsticks = [
    bestPeer(servers, 'throughput'),
    servers.find(({ server }) => server === 'nbdkit-zstd'),
  ];
  const heading = columns(load.title, [
    ...[load.unit, '× best peer', '× zstd', 'p50 µs', 'p99 µs', 'CPU µs/req', 'RSS MiB', 'max/min'],
    ...(servers.some(({ density }) => density !== undefined) ? ['data/RSS'] : []),
  ]);
  const rows = servers.map((server) => renderServer(server, yardsticks));
  const goals = verdicts.map((verdict) => `    ${renderVerdict(verdict)}`);
  return [heading, ...rows, ...goals, ...faults.map((fault) => `    NOT VALID: ${fault}`)];
}

function renderServer(
  server: ServerMedians,
  yardsticks: readonly (ServerMedians | undefined)[],
): string {
  const ratios = yardsticks.map((peer) =>
    peer === undefined ? '' : (server.throughput / peer.throughput).toFixed(2),
  );
  return columns(`  ${server.server}`, [
    ...[grouped(server.throughput), ...ratios, grouped(server.p50Us), grouped(server.p99Us)],
    server.cpuUsPerOperation.toFixed(1),
    grouped(server.residentBytes / 1024 ** 2),
    server.spread.toFixed(2),
    ...(server.density === undefined ? [] : [server.density.toFixed(2)]),
  ]);
}

function renderVerdict(verdict: Verdict): string {
  const { server, measure, kind, of, peer, ratio, goal, isReached } = verdict;
  const yardstick = of === peer ? of : `${of} (${peer})`;
  const bound = kind === 'aim' ? 'aim' : measure === 'p99' ? 'at most' : 'at least';
  const reached = isReached ? 'reached' : 'NOT reached';
  return `${server}: ${measure} ${ratio.toFixed(2)}× ${yardstick}; ${bound} ${goal}×: ${reached}`;
}

function countReached(verdicts: readonly Verdict[]): string {
  const count = (kind: Verdict['kind']) => {
    const all = verdicts.filter((verdict) => verdict.kind === kind);
    return `${all.filter(({ isReached }) => isReached).length} of ${all.length}`;
  };
  return `bounds reached: ${count('at least')}; aims reached: ${count('aim')}`;
}

function columns(first: string, others: readonly string[]): string {
  return first.padEnd(62) + others.map((text) => text.padStart(12)).join('');
}

/** Whole numbers with a space between thousands. */
function grouped(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ' ');
}
