/**
 * Makes the program of `src/cli` and all that it loads: some CommonJS files in `dist/program`. Node
 * finds and links several hundred ES modules one by one, and takes longer for that than for the rest
 * of its start. What is loaded when it is asked for is in files of its own.
 */

import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

const dir = 'dist/program';

const bundle = await rolldown({
  input: { main: './src/cli/main.ts', 'run-worker': './src/replay/engine/run-worker.ts' },
  platform: 'node',
  // Packages stay where they were installed, but for zod: of its files most are messages in other
  // languages, and to load them takes longer than all else that a command does.
  external: /^(?!zod$)[a-z@]/,
});
const { output } = await bundle.generate({
  format: 'cjs',
  entryFileNames: '[name].js',
  // Without a hash: what runs while this is done finds later what it has yet to load.
  chunkFileNames: '[name].js',
  dynamicImportInCjs: false,
  sourcemap: true,
});
await bundle.close();

// Only now that all of it is there: what cannot be bundled leaves the program as it was.
const files = new Map(output.map((file) => [file.fileName, file.code ?? file.source]));
files.set('package.json', JSON.stringify({ type: 'commonjs' }));
files.set('zod.LICENSE', await readFile('node_modules/zod/LICENSE'));
await mkdir(dir, { recursive: true });
for (const [name, content] of files) await writeFile(join(dir, name), content);
for (const name of await readdir(dir)) if (!files.has(name)) await rm(join(dir, name));
