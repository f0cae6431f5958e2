/**
 * Requests of every kind that changes a disk, over several connections at once, each told to the
 * model when it is sent and when it is answered. Whom they go to is for the test to say.
 */

import { type ChangeKind, type CrashModel, describeFaults } from './crash-model.ts';
import type { Random } from './crash-random.ts';
import { encodeSectors } from './crash-sectors.ts';

export type RequestKind = ChangeKind | 'read' | 'flush';

/** A request; places are sectors. */
export interface CrashRequest {
  readonly kind: RequestKind;
  readonly first: number;
  readonly count: number;
  readonly hasFua: boolean;
  /** Of a write. */
  readonly payload?: Buffer;
}

/** The answer to a request: what was read, nothing, or the news that there will be none. */
export type Outcome = Buffer | undefined | 'gone';

/** One connection to the disk under test. A request that fails is an error. */
export type Connection = (request: CrashRequest) => Promise<Outcome>;

export interface WorkloadOptions {
  readonly model: CrashModel;
  readonly random: Random;
  readonly connections: readonly Connection[];
  /** Requests under way on each connection. */
  readonly depth: number;
  /** Most sectors of a request. */
  readonly countMax: number;
  /** Asked before every request. */
  readonly mayGoOn: () => boolean;
  readonly onAnswer?: (request: CrashRequest) => void;
}

/** How often each kind is chosen, in twentieths. */
const KINDS: readonly RequestKind[] = [
  ...Array<RequestKind>(11).fill('write'),
  ...Array<RequestKind>(3).fill('read'),
  ...Array<RequestKind>(3).fill('flush'),
  ...Array<RequestKind>(2).fill('zeroes'),
  'trim',
];
const FUA_SHARE = 0.08;
/** Half of the requests go to this share of the disk, so that sectors are written again and again. */
const BUSY_SHARE = 1 / 16;
const PAGE_SECTORS = 8;
/** Places tried for a request before it waits for its turn with another. */
const TRIES_MAX = 20;

/** Runs until `mayGoOn` says no or every connection is gone; rejects with the first failure. */
export async function runWorkload(options: WorkloadOptions): Promise<void> {
  const failures: unknown[] = [];
  const lane = async (connection: Connection, id: number): Promise<void> => {
    try {
      while (failures.length === 0 && options.mayGoOn()) {
        if (!(await carryOutOne(options, connection, id))) return;
      }
    } catch (failure) {
      failures.push(failure);
    }
  };
  const { connections, depth } = options;
  const lanes = Array.from({ length: depth }, () => connections.map(lane));
  await Promise.all(lanes.flat());
  if (failures.length > 0) throw failures[0];
}

/** Sends one request and waits for its answer; no when the connection is gone. */
async function carryOutOne(
  options: WorkloadOptions,
  connection: Connection,
  id: number,
): Promise<boolean> {
  const { model, onAnswer } = options;
  const request = choose(options);
  const { kind, first, count, hasFua } = request;
  if (kind === 'flush') {
    const flush = model.beginFlush();
    if ((await connection(request)) === 'gone') return false;
    model.endFlush(flush);
  } else if (kind === 'read') {
    model.hold(first, count);
    const data = await connection(request);
    if (data === 'gone') return false;
    model.release(first, count);
    const faults = data === undefined ? [] : model.checkRead(data, first);
    if (faults.length > 0) throw new Error(`A reader got wrong data:\n${describeFaults(faults)}`);
  } else {
    const change = model.beginChange(kind, first, count, hasFua);
    const content = { seed: model.seed, version: change.version, connection: id };
    const payload = kind === 'write' ? { payload: encodeSectors(content, first, count) } : {};
    if ((await connection({ ...request, ...payload })) === 'gone') return false;
    model.endChange(change);
  }
  onAnswer?.(request);
  return true;
}

/** A request for sectors that are free; a FLUSH when there are none. */
function choose({ model, random, countMax }: WorkloadOptions): CrashRequest {
  const kind = random.pick(KINDS);
  const flush = { kind: 'flush', first: 0, count: 0, hasFua: false } as const;
  if (kind === 'flush') return flush;
  const isChange = kind !== 'read';
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const { first, count } = chooseRange(random, model.sectorCount, countMax);
    if (!model.isFree(first, count)) continue;
    return { kind, first, count, hasFua: isChange && random.chance(FUA_SHARE) };
  }
  return flush;
}

/** Half of the ranges are whole pages; the others begin and end at any sector. */
function chooseRange(random: Random, sectorCount: number, countMax: number) {
  const unit = random.chance(0.5) ? PAGE_SECTORS : 1;
  const room = random.chance(0.5) ? sectorCount : Math.ceil(sectorCount * BUSY_SHARE);
  const units = random.logarithmic(Math.max(1, Math.floor(countMax / unit)));
  const first = random.below(Math.floor(room / unit)) * unit;
  return { first, count: Math.min(units * unit, sectorCount - first) };
}
