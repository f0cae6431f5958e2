import { expect, test } from 'vitest';
import { Command } from '../../../src/nbd/protocol.ts';
import { exportOn, KIB, MIB, makeMemory, noise } from '../../export/fixture.ts';
import { FaultyStorage } from '../../storage/faulty-storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { fc } from '../../tools/seed.ts';
import { TestClient } from './transmission-fixture.ts';

/*
 * Clients that are slow, disks that are slow and fail, and clients that go: whatever the order in
 * which things end, nobody is forgotten and nothing is kept.
 */

const SIZE = 3 * MIB;
const image = noise(SIZE);

type Event =
  | { kind: 'ask'; client: number; command: number; at: number; length: number }
  | { kind: 'disk'; pick: number; fails: boolean }
  | { kind: 'take' | 'leave' | 'close' | 'stop'; client: number };

const client = fc.nat({ max: 2 });
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('ask' as const),
      client,
      command: fc.constantFrom(0, 0, 0, 0, 1, 1, 3, 4, 5, 6, 7),
      at: fc.nat({ max: SIZE - 1 }),
      length: fc.oneof(
        fc.nat({ max: 20_000 }),
        fc.constantFrom(64 * KIB, 256 * KIB, 300_000, MIB, 2 * MIB),
      ),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('disk' as const),
      pick: fc.nat(),
      fails: fc.integer({ min: 0, max: 9 }).map((dice) => dice === 0),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('take' as const), client }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('leave', 'close', 'stop'), client }),
  },
) as fc.Arbitrary<Event>;

class Disorder {
  readonly memory: ReturnType<typeof makeMemory>;
  readonly clients: TestClient[];
  readonly #diskWork: ((fails: boolean) => void)[] = [];
  readonly #asked = [0, 0, 0];
  readonly #hasLeft = [false, false, false];
  readonly #isClosed = [false, false, false];

  constructor(memory: ReturnType<typeof makeMemory>) {
    this.memory = memory;
    const disk = Buffer.from(image);
    const storage = new FaultyStorage(new MemoryStorage(disk));
    const hold = () =>
      new Promise<void>((resolve, reject) => {
        this.#diskWork.push((fails) => (fails ? reject(new Error('bad disk')) : resolve()));
      });
    storage.onRead = hold;
    storage.onWrite = hold;
    storage.onSync = hold;
    const parts = { disk, storage, ...exportOn(storage, memory) };
    this.clients = [true, true, false].map(
      (isStructured) => new TestClient({ parts, isStructured, isSlow: true }),
    );
  }

  async happen(each: Event): Promise<void> {
    if (each.kind === 'disk') {
      const [end] = this.#diskWork.splice(each.pick % Math.max(1, this.#diskWork.length), 1);
      end?.(each.fails);
    } else await this.#happenTo(each);
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #happenTo(each: Exclude<Event, { kind: 'disk' }>): Promise<void> {
    const target = this.clients[each.client];
    if (target === undefined || this.#isClosed[each.client]) return;
    if (each.kind === 'take') target.readSome();
    else if (each.kind === 'close') {
      this.#isClosed[each.client] = true;
      await target.close();
    } else if (this.#hasLeft[each.client]) return;
    else if (each.kind === 'ask') this.#ask(target, each);
    else {
      this.#hasLeft[each.client] = true;
      if (each.kind === 'leave' && target.unsentCount === 0) target.leave();
      else target.transmission.shutDown();
    }
  }

  #ask(target: TestClient, { client: i, command, at, length: wanted }: Event & { kind: 'ask' }) {
    const length = Math.min(wanted, SIZE - at);
    const isStructured = i < 2;
    if (command === Command.BLOCK_STATUS && !isStructured) return;
    this.#asked[i]!++;
    if (command !== Command.WRITE) target.send(target.request({ command, offset: at, length }));
    else target.send(target.request({ command, offset: at, payload: Buffer.alloc(length, at) }));
  }

  /** All disks and clients go on: everybody who has not left is answered, and nothing is kept. */
  async end(): Promise<void> {
    for (const each of this.clients) each.isSlow = false;
    for (let rounds = 0; ; rounds++) {
      for (const each of this.clients) await each.settle();
      if (this.#diskWork.length === 0) break;
      if (rounds > 5000) throw new Error('there is no end to it');
      for (const end of this.#diskWork.splice(0)) end(false);
    }
    for (const [i, each] of this.clients.entries()) {
      if (this.#isClosed[i]) continue;
      expect(each.transmission.waitingCount).toBe(0);
      expect(each.isPaused).toBe(false);
      if (each.failure !== undefined) continue; // a long simple read that failed behind its header
      expect(each.parser.isWhole).toBe(true);
      if (this.#hasLeft[i]) expect(each.finishCount).toBe(1);
      else expect(each.answers.length).toBe(this.#asked[i]);
    }
    expect(this.memory.buffers.lentBytes).toBe(0);
    expect(this.memory.lender?.lentCount).toBe(0);
    this.clients[0]?.parts.cache.pool.destroy();
  }
}

test.each([1, 8 * MIB])(
  'in whatever order things end, all is answered and nothing is kept; buffers of %d bytes',
  async (bufferBytes) => {
    const memory = makeMemory({ bufferBytes });
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 5, maxLength: 90 }), async (events) => {
        const disorder = new Disorder(memory);
        for (const each of events) await disorder.happen(each);
        await disorder.end();
      }),
      { numRuns: 60 },
    );
  },
);
