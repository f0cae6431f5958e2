#!/usr/bin/env node
'use strict';

// The first file to run: libuv reads UV_THREADPOOL_SIZE when its pool is first used. Four threads, the
// default, keep too few reads in flight.
process.env.UV_THREADPOOL_SIZE ??= '16';

// A service shares its processors with its clients. V8 would spread a collection over threads and
// wait for all of them, and one that gets no processor keeps every request waiting, for milliseconds;
// what there is to collect, one thread does in less than one.
//
// And it promises how much memory it takes at most. V8 would let garbage come to four times what is in
// use before it collects any; a half is little enough to be promised beside the pages.
if (process.argv[2] === 'serve') {
  const { setFlagsFromString } = require('node:v8');
  // V8 would let its nursery grow to 48 MiB of requests long answered before it looks them over. At
  // the 3 MiB that it starts with it looks oftener, each time at what the processor still has at hand.
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--heap-growing-percent=50');
  setFlagsFromString('--no-parallel-scavenge');
  setFlagsFromString('--no-parallel-compaction');
  setFlagsFromString('--no-parallel-pointer-update');
  // Newer than Node 20, marking on this thread alone is outrun by what is allocated meanwhile.
  if (process.versions.node.startsWith('20.')) setFlagsFromString('--no-concurrent-marking');
  setFlagsFromString('--no-concurrent-sweeping');
  setFlagsFromString('--no-concurrent-array-buffer-sweeping');
}

const { existsSync } = require('node:fs');
const { join } = require('node:path');

const program = join(__dirname, '..', 'dist', 'program', 'main.js');

async function run() {
  const { main } = require(program);
  return main(process.argv.slice(2));
}

if (existsSync(program)) {
  run()
    .then((code) => process.exit(code))
    .catch((error) => {
      process.stderr.write(`tmem: it cannot be loaded; build it again: ${error.stack}\n`);
      process.exitCode = 1;
    });
} else {
  process.stderr.write('tmem: it has not been built yet; run `npm run build`\n');
  process.exitCode = 2;
}
