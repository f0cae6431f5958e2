/**
 * Compares this server with other NBD servers, one driven at a time. Those that are read run side by
 * side; for writes and swap devices each measurement has a server and an image of its own. Each
 * round begins with another server, so that none is always measured first.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describeImage, imageFaults, makeImage } from './image.ts';
import { HELP, readOptions, UsageError } from './options.ts';
import { TOOLS } from './peers.ts';
import { findTool, Processes } from './processes.ts';
import { type BenchResult, describeSurroundings, renderReport } from './report.ts';
import { measureAll } from './rounds.ts';
import { CASES } from './suites.ts';
import { summarize } from './summary.ts';
import { TOOL_CASES } from './tool-cases.ts';
import { renderTools, summarizeTools } from './tool-summary.ts';
import { measureTools } from './tools.ts';

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
  const context = { processes, image, socketFolder, workFolder, projectFolder, say };
  const { samples, commands } = await measureAll(context, options);
  await processes.stopAll();
  const toolSamples = await measureTools(context, options);
  const works = TOOL_CASES.filter(({ id }) => options.cases.includes(id));
  const tools = summarizeTools(works, toolSamples);
  const loads = CASES.filter(({ id }) => options.cases.includes(id));
  const cases = summarize(loads, samples);
  const result = { surroundings, options, image, commands, cases, samples, tools, toolSamples };
  process.stdout.write(
    `${[renderReport(cases), renderTools(tools)].filter(Boolean).join('\n\n')}\n`,
  );
  say(`the figures are in ${keep(result, projectFolder)}`);
  if ([...cases, ...tools].some(({ faults }) => faults.length > 0)) process.exitCode = 1;
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
