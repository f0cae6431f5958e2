import { expect, it } from 'vitest';
import { TmemError } from '../../src/lib/errors.ts';
import { PAGE_KINDS, pageOf } from '../tmem/page-content.ts';
import { fc } from '../tools/seed.ts';
import { type Fixture, openFixture, PAGE_BYTES } from './overflow-fixture.ts';

const PAGES = 190;
/** The smallest file there may be: less than the device, so that it fills and is cleaned. */
const FILE_BYTES = 4096 + 16 * 65536;

const zeros = Buffer.alloc(PAGE_BYTES);

const step = fc.record({
  what: fc.constantFrom('write', 'write', 'write', 'run', 'run', 'part', 'discard', 'read'),
  page: fc.nat(PAGES - 1),
  count: fc.integer({ min: 1, max: 6 }),
  kind: fc.constantFrom('random', 'random', 'half', 'half', ...PAGE_KINDS),
});
/** Steps at the same time, and how many requests of the file that they lead to fail. */
const batch = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 30 }),
  failures: fc.constantFrom(0, 0, 0, 0, 1, 3),
  code: fc.constantFrom('EIO' as const, 'ENOSPC' as const),
});

/** What each page may be: one thing between the batches, one of several during them. */
class Model {
  readonly content: Buffer[] = Array.from({ length: PAGES }, () => zeros);
  readonly attempts = new Map<number, { content: Buffer; isDone: boolean }[]>();

  async attempt(pages: readonly [number, Buffer][], request: Promise<void>): Promise<void> {
    const attempts = pages.map(([page, content]) => {
      const attempt = { content, isDone: false };
      this.attempts.set(page, [...(this.attempts.get(page) ?? []), attempt]);
      return attempt;
    });
    try {
      await request;
      for (const attempt of attempts) attempt.isDone = true;
    } catch (cause) {
      expectRefusal(cause);
    }
  }

  /** What a read may find now. */
  allowed(page: number): Buffer[] {
    const attempts = this.attempts.get(page) ?? [];
    return [this.content[page] ?? zeros, ...attempts.map(({ content }) => content)];
  }

  /** What a read may find when all attempts have ended. */
  settled(page: number): Buffer[] {
    const attempts = this.attempts.get(page) ?? [];
    const isOldGone = attempts.some(({ isDone }) => isDone);
    return isOldGone ? attempts.map(({ content }) => content) : this.allowed(page);
  }
}

function expectRefusal(cause: unknown): void {
  expect(cause).toBeInstanceOf(TmemError);
  expect(['io', 'no-space']).toContain((cause as TmemError).kind);
  expect((cause as TmemError).message).toContain('"swap0"');
}

function expectOneOf(bytes: Buffer, allowed: readonly Buffer[], page: number): void {
  const isOne = allowed.some((each) => each.equals(bytes));
  if (!isOne) throw new Error(`page ${page} is none of ${allowed.length} versions`);
}

async function run(
  { storage, read }: Fixture,
  model: Model,
  { what, page, count, kind }: typeof step extends fc.Arbitrary<infer Step> ? Step : never,
  version: number,
): Promise<void> {
  const end = Math.min(PAGES, page + count);
  const pages = Array.from({ length: end - page }, (_, index) => page + index);
  if (what === 'read') {
    const bytes = await read(page).catch(expectRefusal);
    if (bytes) expectOneOf(bytes, model.allowed(page), page);
  } else if (what === 'discard') {
    const dropped = pages.map((each): [number, Buffer] => [each, zeros]);
    await model.attempt(dropped, storage.discard(page * PAGE_BYTES, dropped.length * PAGE_BYTES));
  } else if (what === 'part') {
    // Of a page that others change as well there would be too many versions.
    if (model.attempts.has(page)) return;
    const merged = Buffer.from(model.content[page] ?? zeros).fill(version, 1000, 1100);
    const request = storage.write(merged, 1000, 100, page * PAGE_BYTES + 1000);
    await model.attempt([[page, merged]], request);
  } else {
    const written = (what === 'run' ? pages : [page]).map((each): [number, Buffer] => [
      each,
      pageOf(PAGE_BYTES, kind, version + each),
    ]);
    const bytes = Buffer.concat(written.map(([, content]) => content));
    await model.attempt(written, storage.write(bytes, 0, bytes.length, page * PAGE_BYTES));
  }
}

it('holds what a map of pages holds, whatever fails and however full the file is', async () => {
  let cleanedBytes = 0;
  let refusals = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(batch, { minLength: 60, maxLength: 90 }), async (batches) => {
      const fixture = openFixture(PAGES * PAGE_BYTES, FILE_BYTES);
      const { storage, medium, read } = fixture;
      const model = new Model();
      let version = 1;
      for (const { steps, failures, code } of batches) {
        let left = failures;
        medium.onRead = medium.onWrite = async () => {
          await new Promise(setImmediate);
          if (left-- > 0) throw new TmemError(code === 'EIO' ? 'io' : 'no-space', 'injected');
        };
        const partPages = new Set(steps.filter(({ what }) => what === 'part').map((s) => s.page));
        const isClear = steps.every(
          ({ what, page, count }) =>
            what === 'part' || what === 'read' || !touches(partPages, page, count),
        );
        const chosen = isClear ? steps : steps.filter(({ what }) => what !== 'part');
        const versions = version;
        await Promise.all(
          chosen.map((each, index) => run(fixture, model, each, versions + index * 50)),
        );
        version += chosen.length * 50;
        medium.onRead = medium.onWrite = undefined;
        for (const page of model.attempts.keys()) {
          const bytes = await read(page);
          expectOneOf(bytes, model.settled(page), page);
          model.content[page] = bytes;
        }
        model.attempts.clear();
        expect(storage.liveBytes).toBeLessThanOrEqual(storage.capacityBytes);
        const isStored = (page: Buffer) => page.subarray(4).compare(page, 0, page.length - 4) !== 0;
        expect(storage.storedPages).toBe(model.content.filter(isStored).length);
      }
      for (const [page, content] of model.content.entries()) {
        expectOneOf(await read(page), [content], page);
      }
      cleanedBytes += storage.statistics.cleanedBytes;
      refusals += storage.statistics.writeFailures;
      expect(storage.statistics.checksumFailures).toBe(0);
      await storage.discard(0, PAGES * PAGE_BYTES);
      expect(storage).toMatchObject({ liveBytes: 0, storedPages: 0, filledPages: 0 });
      await storage.close();
      expect(storage).toMatchObject({ deadBytes: 0, damagedSegments: 0 });
      expect(storage.freeBytes).toBeGreaterThanOrEqual((storage.segmentCount - 2) * 65536);
    }),
    { numRuns: 25 },
  );
  // The runs were hard enough to mean something.
  expect(cleanedBytes).toBeGreaterThan(1_000_000);
  expect(refusals).toBeGreaterThan(10);
});

function touches(pages: ReadonlySet<number>, first: number, count: number): boolean {
  for (const page of pages) if (page >= first && page < first + count) return true;
  return false;
}
