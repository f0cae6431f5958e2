import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { runProgram } from '../tools/programs.ts';
import { runTmem, startServer, TMEM } from '../tools/server.ts';
import { MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

/** A refusal is one sentence on stderr, nothing on stdout, exit code 2. */
async function expectRefusal(
  directory: string,
  args: readonly string[],
  sentence: RegExp,
  run = runTmem,
): Promise<void> {
  const ended = await run(['serve', ...args], { directory });
  expect(ended).toEqual({
    code: 2,
    signal: null,
    stdout: '',
    stderr: expect.stringMatching(/^tmem: [^\n]+\n$/),
  });
  expect(ended.stderr).toMatch(sentence);
}

/** A place to listen that nobody else has, for where the refusal comes before it is used. */
const place = (directory: string) => [
  ...['--listen', `unix:${path.join(directory, 'nbd.sock')}`, '--admin', 'none'],
];

function linkToItself(directory: string): string {
  const link = path.join(directory, 'a.raw');
  fs.symlinkSync('a.raw', link);
  return link;
}

test.each<[string, (directory: string) => string, RegExp]>([
  ['a missing image', (directory) => path.join(directory, 'none.raw'), /no such file.*check/],
  ['an image in a missing directory', (directory) => path.join(directory, 'a/b'), /no such file/],
  ['an image below a file', (directory) => `${makeEmptyImage(directory, MIB)}/x`, /not|no such/],
  ['a symbolic link to itself', linkToItself, /symbolic links lead in a circle; check/],
  ['an empty image', (directory) => makeEmptyImage(directory, 0), /empty; give it a size/],
  ['an odd-sized image', (directory) => makeEmptyImage(directory, 1000), /1000 bytes.*multiple/],
  ['a directory', (directory) => directory, /directory; name an image file/],
  ['a device that is no disk', () => '/dev/null', /name an image file or a block device/],
])('%s is refused in one sentence', async (_, imageIn, sentence) => {
  const directory = workspace();
  await expectRefusal(directory, [imageIn(directory), ...place(directory)], sentence);
  expect(fs.existsSync(path.join(directory, 'nbd.sock'))).toBe(false);
});

/** Runs the program without the right of root to open everything. */
const runAsAnyone: typeof runTmem = (args, options) => {
  if (process.getuid?.() !== 0) return runTmem(args, options);
  const withoutRights = ['--bounding-set=-all', '--inh-caps=-all', '--', process.execPath, TMEM];
  return runProgram('setpriv', [...withoutRights, ...args], options);
};

test.each([
  ['read', 0o000, [], /may not open it for reading.*change its mode or owner/],
  ['read', 0o000, ['--mode', 'read-only'], /may not open it for reading;/],
  ['written to', 0o400, [], /may not open it for reading and writing/],
])('an image that may not be %s is refused in one sentence', async (_, mode, options, sentence) => {
  const directory = workspace();
  const image = makeEmptyImage(directory, MIB);
  fs.chmodSync(image, mode);
  const args = [image, ...options, ...place(directory)];
  await expectRefusal(directory, args, sentence, runAsAnyone);
});

test.each([
  [['--memory', '1MiB'], /--memory|memory is 1MiB.*at least 32MiB/],
  [['--memory', 'much'], /--memory: "much"/],
  [['--memory', '5000TiB'], /memory is 5000TiB.*choose less/],
  [['--hot', '120%'], /--hot: "120%"/],
  [['--mode', 'writebak'], /--mode: "writebak".*writeback/],
  [['--swap', 's'], /--swap: "s" is no swap device; write NAME=SIZE/],
  [['--swap', 's=1MiB,overflow=a,overflow=b'], /--swap: .* names two overflow files; give one/],
  [['--swap', 's=100'], /--swap: a swap device of 100 bytes/],
  [
    ['--swap', 's=1MiB,overflow=disk.raw'],
    /disk\.raw" for overflow: this service has it as an image/,
  ],
  [
    ['--snapshot', 'none/warm'],
    /cannot save the cache to ".*none\/warm": .*make its directory first/,
  ],
  [['--snapshot', '.'], /as a snapshot: it is no file/],
  [['--swap', 'disk.raw=1GiB'], /two exports "disk.raw"/],
  [['--record-dir', 'none'], /there is no directory .*none for recordings; make it first/],
  [['--dirty-limit', '1MiB'], /dirtyLimit is 1MiB/],
  [['--governor', 'maybe'], /--governor: "maybe"/],
  [['--token-file', 'missing'], /cannot read the token in .*missing/],
  [['--admin', '0.0.0.0:0'], /give it a token with --token-file/],
  [['--policy', 'lur'], /--policy: "lur".*did you mean lru\?/],
  [['--listen', 'tcp:localhost'], /--listen: "tcp:localhost"/],
  [['--listen', 'tcp:127.0.0.1:70000'], /--listen: .*70000/],
  [['--memroy', '1GiB'], /no option --memroy; did you mean --memory\?/],
  [['--config', 'none.yaml'], /none\.yaml/],
])('serve %j is refused in one sentence', async (options, sentence) => {
  const directory = workspace();
  await expectRefusal(directory, [makeEmptyImage(directory, MIB), ...options], sentence);
});

test.each([
  [
    'a snapshot',
    '--snapshot',
    'closed/warm',
    /cannot save the cache .*EACCES; this user may not write/,
  ],
  [
    'recordings',
    '--record-dir',
    'closed',
    /cannot keep recordings in .*EACCES; this user may not write/,
  ],
])(
  '%s where this user may not write, is refused in one sentence',
  async (_, option, name, sentence) => {
    const directory = workspace();
    fs.mkdirSync(path.join(directory, 'closed'), { mode: 0o500 });
    const image = makeEmptyImage(directory, MIB);
    const args = [image, option, path.join(directory, name), ...place(directory)];
    await expectRefusal(directory, args, sentence, runAsAnyone);
  },
);

test('a report where this user may not write is refused before anything is simulated', async () => {
  const directory = workspace();
  fs.mkdirSync(path.join(directory, 'closed'), { mode: 0o500 });
  const trace = path.join(directory, 'a.csv');
  fs.writeFileSync(trace, 'lba,length\n1,512\n');
  const out = path.join(directory, 'closed/report');
  const ended = await runAsAnyone(['replay', '--progress', 'on', '--out', out, trace]);
  const sentence =
    /^tmem: --out: no report can be made in .*closed: EACCES; this user may not write[^\n]*\n$/;
  expect(ended).toMatchObject({ code: 2, stderr: expect.stringMatching(sentence) });
});

test('a configuration with a typo is refused with the path to it', async () => {
  const directory = workspace();
  makeEmptyImage(directory, MIB);
  const text = 'exports:\n  - path: disk.raw\n    mdoe: read-only\n';
  fs.writeFileSync(path.join(directory, 'tmem.yaml'), text);
  const sentence = /tmem\.yaml.*exports.*0.*mdoe/;
  await expectRefusal(directory, ['--config', 'tmem.yaml', ...place(directory)], sentence);
});

test('a name that is not UTF-8 is refused, and no other file is made', async () => {
  const directory = workspace();
  const create = `"${process.execPath}" "${TMEM}" image create`;
  // The second file has the name that the first would get: U+FFFD.
  const script = `${create} "$(printf '\\377.raw')" 1MiB; ${create} "$(printf '\\357\\277\\275.raw')" 2MiB`;
  const ended = await runProgram('sh', ['-c', script], { directory });
  expect(ended.stderr).toBe('tmem: "\ufffd.raw" is not in UTF-8; use or make a name that is\n');
  expect(fs.readdirSync(directory)).toEqual(['\ufffd.raw']);
  expect(fs.statSync(path.join(directory, '\ufffd.raw')).size).toBe(2 * MIB);
});

test('an image that is named twice for writing is refused in one sentence', async () => {
  const directory = workspace();
  const image = makeEmptyImage(directory, MIB);
  const args = [`a=${image}`, `b=${image}`, ...place(directory)];
  await expectRefusal(directory, args, /exported twice/);
});

/** A port that is taken until the test has ended. */
async function busyPort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

test.each(['--listen', '--admin'])(
  'a busy port for %s is refused in one sentence',
  async (option) => {
    const directory = workspace();
    const image = makeEmptyImage(directory, MIB);
    const address = `127.0.0.1:${await busyPort()}`;
    const sentence = new RegExp(`${address}.*in use.*choose another`);
    const [, unix = ''] = place(directory);
    const other = option === '--listen' ? ['--admin', 'none'] : ['--listen', unix];
    await expectRefusal(directory, [image, option, address, ...other], sentence);
  },
);

test('a socket on which another server listens is refused, and stays that server’s', async () => {
  const directory = workspace();
  const image = makeImage(directory, MIB);
  const server = await startServer(directory, [image, '--mode', 'read-only']);
  const place = ['--listen', `unix:${server.socket}`, '--admin', 'none'];
  await expectRefusal(directory, [image, '--mode', 'read-only', ...place], /in use/);
  await new Promise<void>((resolve, reject) => {
    const client = net.connect(server.socket, () => client.end(resolve));
    client.on('error', reject);
  });
});
