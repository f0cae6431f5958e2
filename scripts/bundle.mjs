/**
 * Makes the program of `src/cli` and all that it loads: some CommonJS files in `dist/program`. Node
 * finds and links several hundred ES modules one by one, and takes longer for that than for the rest
 * of its start. What is loaded when it is asked for is in files of its own.
 */

import { rm } from 'node:fs/promises';
import { rolldown } from 'rolldown';

const dir = 'dist/program';

const bundle = await rolldown({
  input: { main: './src/cli/main.ts', 'run-worker': './src/replay/engine/run-worker.ts' },
  platform: 'node',
  // Packages stay where they were installed.
  external: /^[a-z@]/,
  plugins: [
    {
      name: 'common-js',
      generateBundle() {
        const source = JSON.stringify({ type: 'commonjs' });
        this.emitFile({ type: 'asset', fileName: 'package.json', source });
      },
    },
  ],
});
await rm(dir, { recursive: true, force: true });
await bundle.write({
  dir,
  format: 'cjs',
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
  dynamicImportInCjs: false,
  sourcemap: true,
});
await bundle.close();
