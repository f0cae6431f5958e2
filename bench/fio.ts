/** Puts one load on one server with fio's nbd engine and reads what it measured. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchCase } from './cases.ts';
import type { Processes } from './processes.ts';

/** What fio saw; latency is from submission to completion, of all connections together. */
export interface Measurement {
  readonly operations: number;
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** What is written compresses about as well as the image; pages of noise would flatter no one. */
const WRITTEN_CONTENT = ['--buffer_compress_percentage=45', '--buffer_compress_chunk=4096'];

/** One run of fio. */
export interface FioRun {
  readonly uri: string;
  readonly load: BenchCase;
  readonly seconds: number;
  /**
   * The same in a round for every server, so that all are asked for the same pages. Not 0, with which
   * all connections would be asked for the same.
   */
  readonly seed: number;
  readonly workFolder: string;
  /** Bytes of all connections together; instead of `seconds`. */
  readonly bytes?: number;
}

/** Runs fio over the whole export, for the given time or for so many bytes. */
export async function runFio(processes: Processes, run: FioRun): Promise<Measurement> {
  // The nbd engine greets on standard output, so the JSON needs a file of its own.
  const output = join(run.workFolder, `fio-${process.pid}.json`);
  await processes.run('fio', [...fioArguments(run), `--output=${output}`]);
  return readFioOutput(readFileSync(output, 'utf8'));
}

/** The arguments of a run, without the one that says where the output goes. */
export function fioArguments({ uri, load, seconds, seed, bytes }: FioRun): string[] {
  const { pattern } = load;
  return [
    `--name=${load.id}`,
    '--ioengine=nbd',
    `--uri=${uri}`,
    `--rw=${load.pattern}`,
    `--bs=${load.blockBytes}`,
    `--iodepth=${load.depth}`,
    `--numjobs=${load.connections}`,
    // Without this fio (3.33) asks for the same pages whatever the seed is.
    '--randrepeat=0',
    `--randseed=${seed}`,
    ...(bytes === undefined ? untilTime(seconds) : untilDone(load, bytes)),
    ...(pattern === 'randwrite' ? WRITTEN_CONTENT : []),
    '--group_reporting',
    '--clat_percentiles=0',
    '--lat_percentiles=1',
    '--percentile_list=50:99',
    '--output-format=json',
  ];
}

function untilTime(seconds: number): string[] {
  // A map of what was read would cost memory accesses that are not the server's.
  // A plain number would be cut to whole seconds.
  return ['--norandommap', '--time_based', `--runtime=${Math.round(seconds * 1000)}ms`];
}

/** The same requests for every server; the FLUSH behind the last of them is in the time. */
function untilDone({ pattern, blockBytes, connections, work }: BenchCase, bytes: number): string[] {
  const blocks = Math.max(1, Math.floor(bytes / connections / blockBytes));
  const flush = work?.flushEvery;
  return [
    `--io_size=${blocks * blockBytes}`,
    ...(pattern === 'randwrite' ? ['--norandommap'] : []),
    ...(flush === undefined ? [] : [`--fsync=${flush}`, '--end_fsync=1']),
  ];
}

/** The figures of fio's JSON; an error that fio reports is thrown. */
export function readFioOutput(text: string): Measurement {
  const { jobs }: FioOutput = JSON.parse(text);
  const [job] = jobs;
  // A run has one direction; the other is there with zeros.
  const done = job !== undefined && job.read.total_ios === 0 ? job.write : job?.read;
  if (job === undefined || job.error !== 0 || done === undefined || done.total_ios === 0) {
    throw new Error(`fio measured nothing: error ${job?.error ?? 'unknown'}`);
  }
  const percentileUs = (name: string) => (done.lat_ns.percentile?.[name] ?? Number.NaN) / 1000;
  return {
    operations: done.total_ios,
    iops: done.iops,
    bytesPerSecond: done.bw_bytes,
    p50Us: percentileUs('50.000000'),
    p99Us: percentileUs('99.000000'),
  };
}

/** The part of fio's JSON that is used here. */
interface FioOutput {
  readonly jobs: readonly {
    readonly error: number;
    readonly read: FioDirection;
    readonly write: FioDirection;
  }[];
}

interface FioDirection {
  readonly total_ios: number;
  readonly iops: number;
  readonly bw_bytes: number;
  readonly lat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}
