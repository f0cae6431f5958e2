import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('curl');

const README = path.resolve(import.meta.dirname, '../../README.md');
const ADDRESS = '127.0.0.1:9842';

/** The lines of the README that ask the administrative address. */
function examples(): string {
  const [, script = ''] =
    /^```sh\n(A=http[\s\S]*?)^```$/m.exec(fs.readFileSync(README, 'utf8')) ?? [];
  return script;
}

test('the curl lines of the README do what they say', async () => {
  const directory = workspace();
  const image = makeImage(directory, MIB, 'demo');
  const server = await startServer(directory, [image, '--admin', '127.0.0.1:0']);
  const [, address = ''] = /^metrics +http:\/\/([^/]+)\//m.exec(server.stdout()) ?? [];
  const script = examples();
  expect(script).toContain(ADDRESS);
  const run = script.replace(ADDRESS, address);
  const output = await runWell('bash', ['-e', '-o', 'pipefail', '-c', run], { directory });
  expect(output).toMatch(/^\{"version":/);
  expect(output).toContain('"weight":200');
  expect(output).toMatch(/the same page\n$/);
});
