import { expect, test } from 'vitest';
import { RECORD, STATUS } from '../../../src/cli/admin/answers.ts';
import { startAdmin } from '../../admin/fixture.ts';
import { exportStatus, serviceStatus } from '../statuses.ts';

/** Every path of `value` that leads to something: `exports.0.reads.hits`. */
function pathsOf(value: unknown, above: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, part]) => {
    const path = [...above, name];
    return [path, ...pathsOf(part, path)];
  });
}

/** A copy of `value` without what is at the path. */
function without(value: object, path: readonly string[]): unknown {
  const copy = structuredClone(value);
  const holder = path
    .slice(0, -1)
    .reduce<unknown>((at, name) => Reflect.get(Object(at), name), copy);
  Reflect.set(Object(holder), path.at(-1) ?? '', undefined);
  return JSON.parse(JSON.stringify(copy));
}

test('a service of this version answers what its commands understand', async () => {
  const { send } = await startAdmin();
  expect(STATUS((await send('GET', '/v1/status')).json)).toBe(true);
  expect(RECORD((await send('GET', '/v1/record')).json)).toBe(true);
});

test('a status that lacks any part of it is none, one that has more is', () => {
  const writeBack = { dirtyBytes: 1, limitBytes: 2, oldestSeconds: 3, failure: null };
  const whole = serviceStatus({
    exports: [exportStatus({ writeBack: { ...writeBack, state: 'dirty' } })],
  });
  expect(STATUS(whole)).toBe(true);
  expect(STATUS({ ...whole, moods: [7] })).toBe(true);
  const optional = /^layers\.\d+\.puts\.|^(layers|exports|pools)\.\d+$|poolIds\.\d+$/;
  const all = pathsOf(whole).filter((path) => !optional.test(path.join('.')));
  expect(all.length).toBeGreaterThan(50);
  expect(all.filter((path) => STATUS(without(whole, path)))).toEqual([]);
});
