import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { ApiDocument } from '../admin/api-document.ts';
import { FUSE_PROGRAMS, fuseDisk } from '../tools/fuse-disk.ts';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { runTmem, startServer, type TestServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdsh', 'curl', 'flock', ...FUSE_PROGRAMS);

const SIZE = 16 * MIB;

/** One service after the other, on one image and with one snapshot. */
function warmed(...options: string[]) {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const snapshot = path.join(directory, 'kept', 'warm');
  fs.mkdirSync(path.dirname(snapshot));
  const admin = path.join(directory, 'admin');
  const args = [image, '--memory', '64MiB', '--snapshot', snapshot, '--admin', `unix:${admin}`];
  const curl = (url: string, ...more: string[]) =>
    runWell('curl', ['-s', '--unix-socket', admin, ...more, `http://tmem${url}`]);
  const metric = async (series: string): Promise<number> => {
    const text = await curl('/metrics');
    const line = text.split('\n').find((each) => each.startsWith(`${series} `)) ?? '';
    return Number(line.slice(series.length));
  };
  return {
    image,
    snapshot,
    admin,
    curl,
    metric,
    start: () => startServer(directory, [...args, ...options]),
    /** Waits until every page of the snapshot was looked at. */
    loaded: async (): Promise<number> => {
      for (;;) {
        const count = await metric('tmem_snapshot_pages{outcome="loaded"}');
        const rest = await metric('tmem_snapshot_pages{outcome="changed"}');
        if (count + rest >= SIZE / 4096) return count;
      }
    },
  };
}

/** Reads the whole image and compares it with the file. */
const readAll = (server: TestServer, image: string): Promise<void> =>
  nbdsh(
    server,
    image,
    `
h = connect()
for at in range(0, ${SIZE}, MIB):
    same(h.pread(MIB, at), file_bytes(MIB, at), f"what is read at {at}")
`,
  );

test.each(['writethrough', 'writeback'])(
  'a client that comes back after a restart finds the cache warm, %s',
  async (mode) => {
    const world = warmed('--mode', mode);
    const first = await world.start();
    await nbdsh(
      first,
      world.image,
      'h = connect()\nh.pwrite(b"new" * 4096, 5 * MIB + 100)\nh.flush()',
    );
    await readAll(first, world.image);
    await first.stop();
    const second = await world.start();
    expect(await world.loaded()).toBe(SIZE / 4096);
    await readAll(second, world.image);
    expect(await world.metric('tmem_backing_requests_total{export="disk.raw",op="read"}')).toBe(0);
  },
);

test('what another program changed in a read-only image while it was served is not kept', async () => {
  const world = warmed('--mode', 'read-only');
  const first = await world.start();
  await readAll(first, world.image);
  const fd = fs.openSync(world.image, 'r+');
  fs.writeSync(fd, Buffer.alloc(4096, 'changed'), 0, 4096, 3 * MIB);
  fs.closeSync(fd);
  first.signal('SIGTERM');
  const why = 'nothing tells when it changes, it is being changed, another program changed it, or';
  expect(await first.ended).toMatchObject({
    code: 0,
    stderr: `tmem: the pages of "disk.raw" are not in the snapshot: ${why} its disk failed\n`,
  });
  const second = await world.start();
  await readAll(second, world.image);
  second.signal('SIGTERM');
  const empty = /no image that is served is in it unchanged; the cache starts empty\n$/;
  expect(await second.ended).toMatchObject({ code: 0, stderr: expect.stringMatching(empty) });
});

test('what was changed behind the back of the service is read from the image', async () => {
  const world = warmed();
  const first = await world.start();
  await readAll(first, world.image);
  await first.stop();
  const fd = fs.openSync(world.image, 'r+');
  fs.writeSync(fd, Buffer.alloc(4096, 'x'), 0, 4096, 3 * MIB);
  fs.closeSync(fd);
  const second = await world.start();
  await readAll(second, world.image);
  expect(await world.metric('tmem_snapshot_pages{outcome="loaded"}')).toBe(0);
  second.signal('SIGTERM');
  expect(await second.ended).toMatchObject({ code: 0 });
});

test('a program that waits for the image to be let go cannot slip a change by', async () => {
  const world = warmed();
  const first = await world.start();
  await readAll(first, world.image);
  await nbdsh(first, world.image, 'h = connect()\nh.pwrite(b"old" * 4096, 5 * MIB)');
  const change = `dd if=/dev/zero of=${world.image} bs=4096 count=3 seek=1280 conv=notrunc status=none`;
  const waiting = runWell('flock', [world.image, '-c', change]);
  await first.stop();
  await waiting;
  const second = await world.start();
  await readAll(second, world.image);
  second.signal('SIGTERM');
  expect(await second.ended).toMatchObject({ code: 0 });
});

test('a snapshot on request is good after a kill, while nobody wrote', async () => {
  const world = warmed('--mode', 'read-only');
  const first = await world.start();
  await readAll(first, world.image);
  const json = JSON.parse(await world.curl('/v1/snapshot', '-X', 'POST'));
  expect(json).toMatchObject({ pages: SIZE / 4096, changed: [], leftOut: [] });
  const api = new ApiDocument(JSON.parse(await world.curl('/openapi.json')));
  api.check('POST', '/v1/snapshot', { status: 200, type: 'application/json', json });
  first.signal('SIGKILL');
  await first.ended;
  const second = await world.start();
  expect(await world.loaded()).toBe(SIZE / 4096);
  await readAll(second, world.image);
});

test('of a file system that tells no changes nothing is kept: what a killed service flushed is served', async ({
  skip,
}) => {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const disk = await fuseDisk(image, SIZE);
  if (disk === undefined) return skip('needs root and FUSE');
  const args = [`disk.raw=${disk.file}`, '--memory', '64MiB', '--snapshot', `${directory}/warm`];
  const first = await startServer(directory, args);
  await readAll(first, image);
  first.expectAtEnd(/"disk.raw" are not in the snapshot: nothing tells when it changes/);
  await first.stop();
  const second = await startServer(directory, args);
  await nbdsh(second, image, 'h = connect()\nh.pwrite(b"new" * 4096, 5 * MIB)\nh.flush()');
  second.signal('SIGKILL');
  await second.ended;
  const third = await startServer(directory, args);
  await readAll(third, image);
  third.expectAtEnd(/nothing tells when it changes/);
});

test.each<[string, RegExp, (snapshot: string) => void]>([
  ['its directory is gone', /ENOENT/, (file) => fs.rmdirSync(path.dirname(file))],
  ['it is another file', /it is something else/, (file) => fs.writeFileSync(file, 'a letter')],
  ['it is a directory', /it is no file/, (file) => fs.mkdirSync(file)],
])('a snapshot that cannot be saved is a failure of the service: %s', async (_, says, spoil) => {
  const world = warmed();
  const server = await world.start();
  server.expectAtEnd(says);
  spoil(world.snapshot);
  const said = await world.curl('/v1/snapshot', '-X', 'POST', '-w', '%{http_code}');
  expect(said).toMatch(/\n500$/);
  const { code, stderr } = await runTmem(['ctl', 'snapshot', '--admin', `unix:${world.admin}`]);
  expect([code, stderr]).toEqual([1, expect.stringMatching(says)]);
});

test('a damaged snapshot costs only what is damaged, and another file is left alone', async () => {
  const world = warmed();
  const first = await world.start();
  await readAll(first, world.image);
  await first.stop();
  const bytes = fs.readFileSync(world.snapshot);
  for (let at = 200_000; at < bytes.length; at += 500_000) bytes.writeUInt8(bytes[at]! ^ 1, at);
  fs.writeFileSync(world.snapshot, bytes);
  const second = await world.start();
  await readAll(second, world.image);
  second.signal('SIGTERM');
  const ended = await second.ended;
  expect(ended.code).toBe(0);
  expect(ended.stderr).toMatch(/damaged/);
  fs.writeFileSync(world.snapshot, 'a letter to a friend');
  const third = await world.start();
  await readAll(third, world.image);
  third.signal('SIGTERM');
  const { code, stderr } = await third.ended;
  expect(code).toBe(0);
  expect(stderr).toMatch(/warm.*the cache starts empty/);
  expect(fs.readFileSync(world.snapshot, 'utf8')).toBe('a letter to a friend');
});
