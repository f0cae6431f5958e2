/** The measurements themselves: which server is driven when, and what is noted of it. */

import type { BenchCase } from './cases.ts';
import { makeCopy } from './copies.ts';
import { runFio } from './fio.ts';
import { type BenchImage, readPieces } from './image.ts';
import { makeImageCopy } from './image-copies.ts';
import type { BenchOptions } from './options.ts';
import { type ServerContext, type StartedServer, warm } from './peers.ts';
import { CASES, SERVERS, serverOf } from './suites.ts';
import type { Sample } from './summary.ts';
import { readCounters } from './tmem.ts';

const FIRST_SEED = 20_260_101;
/** What is measured must not be what the warm-up has read or allocated already. */
const WARM_UP_SEED = FIRST_SEED - 1;
/** How much of the work of a case, where that is fixed, a new server does before it is measured. */
const WARM_UP_WORK = 0.25;
/** How long a new server has its load before it is measured, of the seconds of a measurement. */
const WARM_UP_SHARE = 0.25;

export interface RoundsContext extends ServerContext {
  readonly say: (line: string) => void;
}

/** Every sample, and the command line of every server. */
export interface Measured {
  readonly samples: readonly Sample[];
  readonly commands: Readonly<Record<string, string>>;
}

/** One measurement to be made. */
interface Turn {
  readonly round: number;
  readonly load: BenchCase;
  readonly id: string;
}

/** Gets a server ready, has it measured, and does away with what need not stay. */
type Use = (turn: Turn, measure: (server: StartedServer) => Promise<Sample>) => Promise<Sample>;

/** Measures all that the options ask for; what is only read first, while the disk is quiet. */
export async function measureAll(context: RoundsContext, options: BenchOptions): Promise<Measured> {
  const loads = CASES.filter(({ id }) => options.cases.includes(id));
  const reads = loads.filter(({ suite }) => suite === 'reads');
  const others = loads.filter(({ suite }) => suite !== 'reads');
  const commands: Record<string, string> = {};
  const samples: Sample[] = [];
  if (reads.length > 0) {
    const servers = await startReaders(context, options, reads);
    for (const [id, server] of servers) commands[id] = server.process.command;
    const use: Use = ({ id }, measure) => measure(found(servers, id));
    samples.push(...(await measureRounds(context, options, reads, use)));
    // Memory and processor are for those that come.
    for (const server of servers.values()) await server.process.stop();
  }
  const use: Use = (turn, measure) =>
    withNewServer(context, options, turn, (server) => {
      commands[turn.id] = server.process.command;
      return measure(server);
    });
  samples.push(...(await measureRounds(context, options, others, use)));
  return { samples, commands };
}

async function startReaders(
  context: RoundsContext,
  { servers: wanted }: BenchOptions,
  loads: readonly BenchCase[],
): Promise<Map<string, StartedServer>> {
  const named = new Set(loads.flatMap(({ servers }) => servers));
  const started = new Map<string, StartedServer>();
  for (const { id, title, start } of SERVERS) {
    if (!named.has(id) || !wanted.includes(id)) continue;
    context.say(`starting and warming ${title}`);
    const server = await start(context);
    await warm(context, server);
    started.set(id, server);
  }
  return started;
}

async function measureRounds(
  context: RoundsContext,
  options: BenchOptions,
  loads: readonly BenchCase[],
  use: Use,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (let round = 1; round <= options.rounds && loads.length > 0; round++) {
    await readIntoPageCache(context.image);
    for (const load of loads) {
      context.say(`round ${round} of ${options.rounds}: ${load.title}`);
      const servers = load.servers.filter((id) => options.servers.includes(id));
      const first = (round - 1) % Math.max(1, servers.length);
      for (const id of [...servers.slice(first), ...servers.slice(0, first)]) {
        const turn = { round, load, id };
        const sample = await use(turn, (server) => measure(context, options, turn, server));
        samples.push(sample);
        const figure = load.unit === 'IOPS' ? sample.iops : sample.bytesPerSecond / 1e6;
        context.say(`  ${id.padEnd(20)} ${figure.toFixed(0).padStart(8)} ${load.unit}`);
      }
    }
  }
  return samples;
}

/**
 * A new server, with a copy of the image on which nothing is left to be written, or with a disk of
 * its own. It is given the load for a moment first: nobody wants to know how fast a program begins.
 */
async function withNewServer(
  context: RoundsContext,
  options: BenchOptions,
  { load, id }: Turn,
  measure: (server: StartedServer) => Promise<Sample>,
): Promise<Sample> {
  const definition = serverOf(id);
  if (load.image !== undefined) return withImageServer(context, { load, id }, measure);
  const seconds = options.seconds * WARM_UP_SHARE;
  const run = { load, seconds, seed: WARM_UP_SEED, workFolder: context.socketFolder };
  const warmUp = ({ uri }: StartedServer) => runFio(context.processes, { ...run, uri });
  if (load.suite === 'swap') {
    const server = await definition.start(context);
    await warm(context, server);
    const density = densityOf(context.image, server);
    await warmUp(server);
    const sample = await measure(server);
    await server.process.kill();
    return { ...sample, density };
  }
  const isUncached = definition.goesAroundPageCache === true;
  const copy = await makeCopy({ ...context, isUncached });
  const server = await definition.start({ ...context, image: copy.image });
  await warmUp(server);
  const sample = await measure(server);
  // In this order the system need not write what nobody will read.
  copy.remove();
  await server.process.kill();
  return sample;
}

/**
 * A new server on a qcow2 image. What it leaves of one that was written to must be in order, or the
 * figure is none.
 */
async function withImageServer(
  context: RoundsContext,
  { load, id }: Pick<Turn, 'load' | 'id'>,
  measure: (server: StartedServer) => Promise<Sample>,
): Promise<Sample> {
  const kind = load.image ?? 'warm';
  const copy = await makeImageCopy(context, kind);
  const server = await serverOf(id).start({ ...context, image: copy.image });
  if (kind === 'warm') {
    await warm(context, server);
  } else {
    const { uri } = server;
    const bytes = workOf(context, load) * WARM_UP_WORK;
    const run = { uri, load, seconds: 0, bytes, workFolder: context.socketFolder };
    await runFio(context.processes, { ...run, seed: WARM_UP_SEED });
  }
  const sample = await measure(server);
  await server.process.stop();
  if (load.pattern !== 'randwrite') return sample;
  const fault = await faultOfImage(context, copy.image.path);
  copy.remove();
  return fault === undefined ? sample : { ...sample, fault };
}

function workOf({ image }: RoundsContext, { work }: BenchCase): number {
  return image.sizeBytes * (work?.imageShare ?? 1);
}

async function faultOfImage({ processes }: RoundsContext, path: string) {
  try {
    await processes.run('qemu-img', ['check', '-q', '-f', 'qcow2', path]);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Bytes of the image's pages for each byte that is resident; zero pages cost and count nothing. */
function densityOf({ sizeBytes, zeroShare }: BenchImage, server: StartedServer): number {
  return (sizeBytes * (1 - zeroShare)) / server.process.residentBytes();
}

async function measure(
  context: RoundsContext,
  options: BenchOptions,
  { round, load, id }: Turn,
  server: StartedServer,
): Promise<Sample> {
  const seconds = options.seconds * (load.secondsTimes ?? 1);
  const counters = () =>
    server.adminSocket === undefined ? undefined : readCounters(server.adminSocket);
  const before = await counters();
  const cpuBefore = server.process.cpuSeconds();
  const measurement = await runFio(context.processes, {
    ...{ uri: server.uri, load, seconds, workFolder: context.socketFolder },
    seed: FIRST_SEED + round - 1,
    ...(load.work === undefined ? {} : { bytes: workOf(context, load) }),
  });
  const cpuSeconds = server.process.cpuSeconds() - cpuBefore;
  const after = await counters();
  const fault = before && after && serverOf(id).faultOf?.(before, after);
  return {
    ...{ round, server: id, load: load.id, ...measurement },
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

function found(servers: ReadonlyMap<string, StartedServer>, id: string): StartedServer {
  const server = servers.get(id);
  if (server === undefined) throw new Error(`${id} was not started`);
  return server;
}
