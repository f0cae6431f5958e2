import { describe, expect, it } from 'vitest';
import { readOptions, UsageError } from '../../bench/options.ts';
import { CASES, SERVERS, serverOf } from '../../bench/suites.ts';
import { isOwn } from '../../bench/tmem.ts';
import { TOOL_CASES } from '../../bench/tool-cases.ts';

const IDS = CASES.map(({ id }) => id);
const TOOL_IDS = TOOL_CASES.map(({ id }) => id);

function casesOf(...args: readonly string[]): readonly string[] | undefined {
  return readOptions(args)?.cases;
}

function idsOf(suite: string): string[] {
  return CASES.filter((each) => each.suite === suite).map(({ id }) => id);
}

describe('cases and servers', () => {
  it('have names of their own', () => {
    const servers = SERVERS.map(({ id }) => id);
    for (const names of [[...IDS, ...TOOL_IDS], servers])
      expect(new Set(names).size).toBe(names.length);
  });

  it.each(IDS)('%s compares servers that there are, and has goals only for its own', (id) => {
    const load = CASES.find((each) => each.id === id);
    const servers = (load?.servers ?? []).map((each) => serverOf(each).id);
    const own = servers.filter(isOwn);
    expect(own.length).toBeGreaterThan(0);
    expect(servers.length).toBeGreaterThan(own.length);
    expect(own).toEqual(expect.arrayContaining(Object.keys(load?.goals ?? {})));
  });
});

describe('--suite', () => {
  it('is the reads unless it or a case is named', () => {
    expect(casesOf()).toEqual(idsOf('reads'));
    expect(casesOf('--suite', 'swap,writes')).toEqual([...idsOf('writes'), ...idsOf('swap')]);
    expect(casesOf('--suite', 'all')).toEqual([...IDS, ...TOOL_IDS]);
    expect(casesOf('--cases', 'wb-d1,seq1m')).toEqual(['seq1m', 'wb-d1']);
  });

  it('has only the cases that it has', () => {
    expect(casesOf('--suite', 'writes', '--cases', 'wb-d1')).toEqual(['wb-d1']);
    expect(() => casesOf('--suite', 'writes', '--cases', 'wb-d1,seq1m')).toThrow(UsageError);
    expect(() => casesOf('--suite', 'wirtes')).toThrow(UsageError);
  });
});
