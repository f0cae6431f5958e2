/** A server that is killed in the middle of its work, again and again, on one image. */

import fs from 'node:fs';
import { CrashClient } from './crash-client.ts';
import { type CrashModel, describeFaults } from './crash-model.ts';
import type { Random } from './crash-random.ts';
import { SECTOR_BYTES } from './crash-sectors.ts';
import { type Connection, type CrashRequest, runWorkload } from './crash-workload.ts';
import { startServer, type TestServer } from './server.ts';

/** Far longer than any round takes: only what hangs meets it, milliseconds. */
const PATIENCE_MS = 30_000;
const COUNT_MAX = (256 * 1024) / SECTOR_BYTES;
const ANSWERS_MAX = 800;
const BYTES_MAX = 24 * 1024 * 1024;
const TURNS_MAX = 4;

/** What a kill waits for: so many of these, then so many turns of the event loop. */
interface Moment {
  readonly what: 'answers' | 'bytes' | 'flushes sent' | 'flushes answered' | 'changes sent';
  readonly count: number;
  readonly turns: number;
}

function chooseMoment(random: Random): Moment {
  const turns = random.below(TURNS_MAX + 1);
  const what = random.pick(['answers', 'answers', 'bytes', 'flushes', 'changes'] as const);
  if (what === 'answers') return { what, count: random.logarithmic(ANSWERS_MAX), turns };
  if (what === 'bytes') return { what, count: random.logarithmic(BYTES_MAX), turns };
  if (what === 'changes') return { what: 'changes sent', count: random.logarithmic(200), turns };
  const flushes = random.chance(0.5) ? 'flushes sent' : 'flushes answered';
  return { what: flushes, count: random.logarithmic(100), turns };
}

/** Kills a server when its moment has come. */
class Killer {
  /** Nothing is sent any more. */
  isOver = false;
  readonly #server: TestServer;
  readonly #moment: Moment;
  #left: number;

  constructor(server: TestServer, moment: Moment) {
    this.#server = server;
    this.#moment = moment;
    this.#left = moment.count;
  }

  /** How many of a request's bytes may be sent. */
  admit(request: CrashRequest): number {
    const { what } = this.#moment;
    if (what !== 'bytes') return Number.POSITIVE_INFINITY;
    return Math.max(1, this.#left + (request.payload === undefined ? 28 : 0));
  }

  /** Hears of a request that was just sent. */
  sent({ kind, payload }: CrashRequest): void {
    const { what } = this.#moment;
    if (what === 'bytes') this.#count(28 + (payload?.length ?? 0));
    else if (what === 'flushes sent' && kind === 'flush') this.#count(1);
    else if (what === 'changes sent' && kind !== 'flush' && kind !== 'read') this.#count(1);
  }

  answered({ kind }: CrashRequest): void {
    const { what } = this.#moment;
    if (what === 'answers' || (what === 'flushes answered' && kind === 'flush')) this.#count(1);
  }

  #count(many: number): void {
    this.#left -= many;
    if (this.#left > 0 || this.isOver) return;
    this.isOver = true;
    this.#wait(this.#moment.turns);
  }

  #wait(turns: number): void {
    if (turns === 0) this.#server.signal('SIGKILL');
    else setImmediate(() => this.#wait(turns - 1));
  }
}

export interface KillOptions {
  readonly model: CrashModel;
  readonly random: Random;
  readonly directory: string;
  readonly image: string;
  readonly args: readonly string[];
  /** What the image holds as a disk, by another program; default its bytes, which it is. */
  readonly contentOf?: () => Promise<Buffer>;
  /** Stands between the workload and a client: a server of less honesty, for tests of this test. */
  readonly between?: (connection: Connection) => Connection;
}

/**
 * Starts a server, compares what it serves with the image, works on it over some connections, and
 * kills it. Rejects where the image then holds what it may not; answers what was done.
 */
export async function killOnce(options: KillOptions): Promise<string> {
  const { model, random, directory, image, args } = options;
  const contentOf = options.contentOf ?? (async () => fs.readFileSync(image));
  const server = await startServer(directory, args);
  await checkServed(server, await contentOf());
  const moment = chooseMoment(random);
  const count = 3 + random.below(2);
  const clients = await Promise.all(
    Array.from({ length: count }, () => CrashClient.connect(server.socket)),
  );
  const told = `killed ${moment.turns} turns after ${moment.count} ${moment.what}`;
  const killer = new Killer(server, moment);
  const connections = clients.map((client) => connectionOf(client, killer));
  const work = runWorkload({
    ...{ model, random, countMax: COUNT_MAX, depth: 1 + random.below(6) },
    connections: connections.map(options.between ?? ((connection) => connection)),
    mayGoOn: () => !killer.isOver,
    onAnswer: (request) => killer.answered(request),
  });
  const everything = work.then(() => Promise.all([server.ended, ...clients.map((c) => c.closed)]));
  try {
    await inTime(everything, () => clients.map((client) => client.waitingFor).join(' | '));
  } finally {
    server.signal('SIGKILL'); // what was killed already does not hear it
  }
  const medium = await contentOf();
  const faults = model.checkMedium(medium);
  if (faults.length > 0) throw new Error(`${told}, the image is wrong:\n${describeFaults(faults)}`);
  model.settle(medium);
  return told;
}

/** What the next server makes of the image is what lies there. */
export async function checkServed(server: TestServer, content: Buffer): Promise<void> {
  const client = await CrashClient.connect(server.socket);
  const bytes = COUNT_MAX * SECTOR_BYTES;
  for (let at = 0; at < content.length; at += bytes) {
    const part = content.subarray(at, at + bytes);
    const range = { first: at / SECTOR_BYTES, count: part.length / SECTOR_BYTES, hasFua: false };
    const data = await inTime(client.ask({ kind: 'read', ...range }), () => client.waitingFor);
    if (!(data instanceof Buffer) || !data.equals(part)) {
      throw new Error(`The restarted server does not serve what the image holds at ${at}.`);
    }
  }
  await client.close();
}

function connectionOf(client: CrashClient, killer: Killer): Connection {
  return (request) => {
    const outcome = client.ask(request, killer.admit(request));
    killer.sent(request);
    return outcome;
  };
}

async function inTime<Value>(work: Promise<Value>, describe: () => string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`Nothing happened for ${PATIENCE_MS} ms; waiting for ${describe()}`));
    }, PATIENCE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
