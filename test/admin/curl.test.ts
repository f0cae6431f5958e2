/** The examples of docs/api.md, run as they stand. */

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryDirectory } from '../storage/temporary-files.ts';
import { needsPrograms, runProgram } from '../tools/programs.ts';
import { type AdminFixture, startAdmin } from './fixture.ts';

const PAGE = readFileSync(path.resolve(import.meta.dirname, '../../docs/api.md'), 'utf8');
const EXAMPLES = [...PAGE.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text);

/** Runs an example against a server of the test's own; curl fails for every refusal. */
async function run(example: string, { place }: AdminFixture): Promise<string> {
  const port = 'port' in place ? place.port : 0;
  const script = example
    .replaceAll('localhost:9842', `127.0.0.1:${port}`)
    .replaceAll(/\bcurl /g, 'curl -sS --fail-with-body ');
  const ended = await runProgram('/bin/sh', ['-euc', script], { directory: temporaryDirectory() });
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  return ended.stdout;
}

describe('the examples of the manual', () => {
  needsPrograms('curl');

  it('control a service', async () => {
    const admin = await startAdmin();
    const [example = ''] = EXAMPLES;
    const answers = (await run(example, admin))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(answers).toMatchObject([
      { isFrozen: false, exports: [{ name: 'disk' }] },
      { isFrozen: true },
      { freedBytes: 0 },
      { isFrozen: false },
    ]);
  });

  it('keep a page, get it back and end the pool', async () => {
    const admin = await startAdmin();
    const [, example = ''] = EXAMPLES;
    expect(await run(example, admin)).toBe('{"outcome":"stored"}\n{"flushedPages":1}\n');
    expect(admin.tmem.pools.size).toBe(1);
  });

  it('are all run', () => {
    expect(EXAMPLES).toHaveLength(2);
  });
});
