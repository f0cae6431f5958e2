/** Runs the image tools, ours and qemu-img, on the same images with the same pages in memory. */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { syncFile } from './copies.ts';
import { qcow2Source, readThrough } from './image-copies.ts';
import { writeLargeImage } from './large-image.ts';
import type { BenchOptions } from './options.ts';
import type { ServerContext } from './peers.ts';
import { TOOL_CASES, TOOL_NAMES, type ToolCase, type ToolName } from './tool-cases.ts';

/**
 * The shell knows what its children have used of the processors. Certificates are for tools that talk
 * to others: where the machine names a list of its own, Node reads all of it before it does anything.
 */
const TIMED = 'unset NODE_EXTRA_CA_CERTS; TIMEFORMAT="cpu %3U %3S"; time "$@" >/dev/null';

/** One use of a tool. */
export interface ToolSample {
  readonly round: number;
  readonly tool: ToolName;
  readonly work: string;
  /** From its start to its end, or until what it wrote is on the disk; see `ToolCase.isSynced`. */
  readonly seconds: number;
  /** Processor time of the tool, all threads. */
  readonly cpuSeconds: number;
  /** Why it does not count: what it made differs from its source. */
  readonly fault?: string;
}

export interface ToolsContext extends ServerContext {
  readonly say: (line: string) => void;
}

/** Uses each tool once in each round; the first of them changes from round to round. */
export async function measureTools(
  context: ToolsContext,
  options: BenchOptions,
): Promise<readonly ToolSample[]> {
  const samples: ToolSample[] = [];
  const works = TOOL_CASES.filter(({ id }) => options.cases.includes(id));
  const tools = TOOL_NAMES.filter((name) => options.servers.includes(name));
  for (let round = 1; round <= options.rounds; round++) {
    const ordered = round % 2 === 0 ? tools.toReversed() : tools;
    for (const work of works) {
      context.say(`round ${round} of ${options.rounds}: ${work.title}`);
      for (const tool of ordered) {
        const sample = { round, tool, work: work.id, ...(await use(context, options, work, tool)) };
        samples.push(sample);
        context.say(`  ${tool.padEnd(20)} ${sample.seconds.toFixed(2).padStart(8)} s`);
      }
    }
  }
  return samples;
}

/** What the two are called with; `target` is for those that make one. */
function toolCommand(
  { projectFolder }: Pick<ToolsContext, 'projectFolder'>,
  { verb, args }: ToolCase,
  tool: ToolName,
  images: readonly string[],
): readonly [string, ...string[]] {
  const rest = [verb, ...args[tool], ...images];
  if (tool === 'qemu-img') return ['qemu-img', ...rest];
  return [process.execPath, join(projectFolder, 'bin', 'tmem.cjs'), 'image', ...rest];
}

async function use(
  context: ToolsContext,
  options: BenchOptions,
  work: ToolCase,
  tool: ToolName,
): Promise<Pick<ToolSample, 'seconds' | 'cpuSeconds' | 'fault'>> {
  const { processes, workFolder } = context;
  const source = await sourceOf(context, options, work);
  const target = work.verb === 'convert' ? join(workFolder, 'converted') : undefined;
  if (target !== undefined) {
    processes.onLeave(() => rmSync(target, { force: true }));
    rmSync(target, { force: true });
  }
  // A large one was written just now, and is all holes behind its tables.
  if (work.verb === 'convert') await readThrough(source);
  await processes.run('sync', []);
  const images = target === undefined ? [source] : [source, target];
  const command = toolCommand(context, work, tool, images);
  const start = performance.now();
  const { stderr } = await processes.run('bash', ['-c', TIMED, 'time', ...command]);
  if (target !== undefined && work.isSynced) syncFile(target);
  const seconds = (performance.now() - start) / 1000;
  const [, user = 'NaN', system = 'NaN'] = /^cpu (\S+) (\S+)$/m.exec(stderr) ?? [];
  const cpuSeconds = Number(user) + Number(system);
  const fault = target === undefined ? undefined : await difference(context, work, source, target);
  if (target !== undefined) rmSync(target, { force: true });
  return { seconds, cpuSeconds, ...(fault === undefined ? {} : { fault }) };
}

async function sourceOf(
  context: ToolsContext,
  { isSmoke }: BenchOptions,
  { source }: ToolCase,
): Promise<string> {
  if (source === 'raw') return context.image.path;
  if (source === 'qcow2') return qcow2Source(context);
  mkdirSync(context.workFolder, { recursive: true });
  const path = join(context.workFolder, `${source}.qcow2`);
  const size = { diskBytes: 2 ** (isSmoke ? 34 : 40), clusters: 2 ** (isSmoke ? 14 : 20) };
  writeLargeImage(path, { ...size, layout: source });
  context.processes.onLeave(() => rmSync(path, { force: true }));
  syncFile(path);
  return path;
}

async function difference(
  { processes }: ToolsContext,
  { source, args }: ToolCase,
  from: string,
  to: string,
): Promise<string | undefined> {
  const target = args['tmem-image'][args['tmem-image'].indexOf('-O') + 1] ?? 'raw';
  try {
    await processes.run('qemu-img', ['compare', '-q', '-f', source, '-F', target, from, to]);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
