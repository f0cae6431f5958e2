/**
 * Compares this server with other NBD servers on one image. All run side by side, one is driven at
 * a time, and each round begins with another of them, so that none is always measured first.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type BenchCase, CASES } from './cases.ts';
import { runFio } from './fio.ts';
import { type BenchImage, describeImage, imageFaults, makeImage, readPieces } from './image.ts';
import { type BenchOptions, HELP, readOptions, UsageError } from './options.ts';
import {
  PEERS,
  type ServerContext,
  type ServerDefinition,
  type StartedServer,
  TOOLS,
  warm,
} from './peers.ts';
import { findTool, Processes } from './processes.ts';
import { type BenchResult, describeSurroundings, renderReport } from './report.ts';
import { type Sample, summarize } from './summary.ts';
import { readCounters, TMEM, warmthFault } from './tmem.ts';

const FIRST_SEED = 20_260_101;

const say = (line: string) => process.stderr.write(`${line}\n`);

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) {
    process.stdout.write(HELP);
    return;
  }
  requireTools();
  const projectFolder = findProject(import.meta.dirname);
  const workFolder = join(projectFolder, 'bench', 'work');
  const processes = new Processes();
  const image = await makeImage({
    ...{ projectFolder, workFolder, processes, say },
    sizeBytes: options.imageBytes,
  });
  say(`image: ${describeImage(image)}`);
  const faults = imageFaults(image);
  if (faults.length > 0 && !options.isSmoke) {
    throw new Error(`the image is no good for comparing: ${faults.join(', ')} (${image.path})`);
  }
  const surroundings = await describeSurroundings(processes, projectFolder);
  say(`load average ${surroundings.loadAverage.toFixed(2)} on ${surroundings.cores} cores`);
  const socketFolder = mkdtempSync(join(tmpdir(), 'tmem-bench-'));
  processes.onLeave(() => rmSync(socketFolder, { recursive: true, force: true }));
  const context = { processes, image, socketFolder, workFolder, projectFolder };
  const servers = await startServers(context, options);
  const samples = await measureRounds(context, options, servers);
  const commands = Object.fromEntries(
    servers.map(({ id, server }) => [id, server.process.command]),
  );
  await processes.stopAll();
  const loads = CASES.filter(({ id }) => options.cases.includes(id));
  const cases = summarize(loads, options.servers, samples);
  const result = { surroundings, options, image, commands, cases, samples };
  process.stdout.write(`${renderReport(cases)}\n`);
  say(`the figures are in ${keep(result, projectFolder)}`);
  if (cases.some((summary) => summary.faults.length > 0)) process.exitCode = 1;
}

interface NamedServer {
  readonly id: string;
  readonly server: StartedServer;
}

async function startServers(
  context: ServerContext,
  { servers: wanted }: BenchOptions,
): Promise<NamedServer[]> {
  const definitions: readonly ServerDefinition[] = [...PEERS, ...TMEM];
  const started: NamedServer[] = [];
  for (const definition of definitions.filter(({ id }) => wanted.includes(id))) {
    say(`starting and warming ${definition.title}`);
    const server = await definition.start(context);
    await warm(context, server);
    started.push({ id: definition.id, server });
  }
  return started;
}

async function measureRounds(
  context: ServerContext,
  options: BenchOptions,
  servers: readonly NamedServer[],
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const loads = CASES.filter(({ id }) => options.cases.includes(id));
  for (let round = 0; round < options.rounds; round++) {
    await readIntoPageCache(context.image);
    const first = round % servers.length;
    const rotated = [...servers.slice(first), ...servers.slice(0, first)];
    for (const load of loads) {
      say(`round ${round + 1} of ${options.rounds}: ${load.title}`);
      for (const named of rotated) {
        const sample = await measure(context, options, { round, load, named });
        samples.push(sample);
        const figure = load.unit === 'IOPS' ? sample.iops : sample.bytesPerSecond / 1e6;
        say(`  ${named.id.padEnd(14)} ${figure.toFixed(0).padStart(8)} ${load.unit}`);
      }
    }
  }
  return samples;
}

async function measure(
  context: ServerContext,
  { seconds }: BenchOptions,
  { round, load, named }: { round: number; load: BenchCase; named: NamedServer },
): Promise<Sample> {
  const { id, server } = named;
  const setting = TMEM.find((definition) => definition.id === id)?.setting;
  const counters = () =>
    server.adminSocket === undefined ? undefined : readCounters(server.adminSocket);
  const before = await counters();
  const cpuBefore = server.process.cpuSeconds();
  const measurement = await runFio(context.processes, {
    ...{ uri: server.uri, load, seconds, workFolder: context.socketFolder },
    seed: FIRST_SEED + round,
  });
  const cpuSeconds = server.process.cpuSeconds() - cpuBefore;
  const after = await counters();
  const fault = before && after && setting ? warmthFault(before, after, setting) : undefined;
  return {
    ...{ round: round + 1, server: id, load: load.id, ...measurement },
    cpuUsPerOperation: (cpuSeconds / measurement.operations) * 1e6,
    residentBytes: server.process.residentBytes(),
    ...(fault === undefined ? {} : { fault }),
  };
}

/** The servers that leave caching to the kernel are measured with the whole image in memory. */
async function readIntoPageCache(image: BenchImage): Promise<void> {
  for await (const piece of readPieces(image.path)) {
    if (piece.length === 0) return;
  }
}

function keep(result: BenchResult, projectFolder: string): string {
  const folder = join(projectFolder, 'bench', 'results');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${result.surroundings.date.replace(/[:.]/g, '-')}.json`);
  writeFileSync(path, `${JSON.stringify(result, undefined, 2)}\n`);
  return path;
}

function requireTools(): void {
  const missing = Object.keys(TOOLS).filter((tool) => findTool(tool) === undefined);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((tool) => TOOLS[tool]))].join(' ');
  throw new UsageError(`${missing.join(', ')} not found: apt-get install ${packages}`);
}

/** The compiled script lies below build/, so the project is the first folder up with a lock file. */
function findProject(start: string): string {
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, 'package-lock.json'))) return folder;
  }
  throw new Error(`no project around ${start}: run the benchmark from a checkout`);
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    say(`bench: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(error instanceof UsageError ? 2 : 1);
  },
);
