import fs from 'node:fs';
import { expect, test } from 'vitest';
import { runFio } from '../tools/fio.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { RUNTIME_BYTES_MAX, startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('fio', 'qemu-img');

const SIZE = 384 * MIB;

test.each([
  ['0', 64],
  ['25%', 64],
  ['90%', 64],
])('with --hot %s under load %i MiB and what Node takes are never passed', async (hot, memory) => {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const options = ['--memory', `${memory}MiB`, '--hot', hot];
  const server = await startServer(directory, [image, ...options]);
  const uri = server.uri();
  const [shared, whole] = [{ iodepth: 32, randseed: 1 }, { size: SIZE }];
  const results = await runFio(directory, shared, [
    { name: 'small', uri, options: { ...whole, rw: 'randrw', bs: '4k', io_size: 48 * MIB } },
    {
      name: 'odd',
      uri,
      options: { ...whole, rw: 'randrw', bsrange: '1k-192k', io_size: 128 * MIB },
    },
    { name: 'large', uri, options: { ...whole, rw: 'randread', bs: '1m', io_size: 384 * MIB } },
    { name: 'scan', uri, options: { ...whole, rw: 'rw', bs: '256k', io_size: 128 * MIB } },
  ]);
  expect(results.reduce((sum, job) => sum + job.readBytes + job.writtenBytes, 0)).toBeGreaterThan(
    640 * MIB,
  );
  expect(server.residentBytesMax()).toBeLessThan(memory * MIB + RUNTIME_BYTES_MAX);
});

/** Makes garbage that is old when it becomes some, and says what the heap came to at most, in MiB. */
const LITTER = `
  const { getHeapStatistics } = require('node:v8');
  const held = [];
  let peak = 0;
  const litter = (left) => {
    held.push(Array.from({ length: 5000 }, (_, i) => ({ i, next: [i] })));
    if (held.length > 10) held.shift();
    peak = Math.max(peak, getHeapStatistics().used_heap_size);
    if (left > 0) setImmediate(litter, left - 1);
    else process.stderr.write('heap ' + Math.round(peak / 2 ** 20));
  };
  setTimeout(litter, 500, 800);
`;

test('what is no longer in use is collected before it comes to much', async () => {
  const directory = workspace();
  const litter = `${directory}/litter.cjs`;
  fs.writeFileSync(litter, LITTER);
  const env = { NODE_OPTIONS: `--require=${litter}` };
  const options = [makeImage(directory, MIB), '--memory', '64MiB'];
  const server = await startServer(directory, options, { env });
  const told = /^heap (\d+)$/;
  server.expectAtEnd(told);
  await server.waitForStderr(told);
  expect(Number(told.exec(server.stderr())?.[1])).toBeLessThan(60);
});

test('a chain of three qcow2 images has its tables, units and buffers inside 32 MiB', async () => {
  const directory = workspace();
  const size = 64 * MIB;
  const chain = ['bottom', 'middle', 'top'].map((name) => `${directory}/${name}.qcow2`);
  const [bottom = '', middle = '', top = ''] = chain;
  const raw = makeImage(directory, size);
  await runWell('qemu-img', ['convert', '-c', '-f', 'raw', '-O', 'qcow2', raw, bottom]);
  const over = ['create', '-q', '-f', 'qcow2', '-F', 'qcow2'];
  await runWell('qemu-img', [...over, '-b', bottom, '-o', 'cluster_size=2M', middle]);
  await runWell('qemu-img', [...over, '-b', middle, top]);
  const server = await startServer(directory, [top, '--memory', '32MiB']);
  const shared = { iodepth: 32, randseed: 1, size };
  await runFio(directory, shared, [
    { name: 'small', uri: server.uri(), options: { rw: 'randrw', bs: '4k', io_size: 16 * MIB } },
    { name: 'large', uri: server.uri(), options: { rw: 'rw', bs: '256k', io_size: 64 * MIB } },
  ]);
  expect(server.residentBytesMax()).toBeLessThan(32 * MIB + RUNTIME_BYTES_MAX);
  await server.stop();
  await runWell('qemu-img', ['check', '-q', top]);
});
