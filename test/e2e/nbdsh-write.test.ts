import { describe, test } from 'vitest';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdsh');

const SIZE = 40 * MIB;

async function session(script: string, ...options: string[]): Promise<void> {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const server = await startServer(directory, [image, '--memory', '48MiB', ...options]);
  await nbdsh(server, image, script);
}

test('a write is in the image when it is answered with FUA', () =>
  session(`
h = connect()
for length, offset in [(4096, 8192), (1, 77), (100001, 99999), (3 * MIB, 5 * MIB + 512)]:
    content = random.randbytes(length)
    h.pread(length, offset)
    h.pwrite(content, offset, nbd.CMD_FLAG_FUA)
    same(file_bytes(length, offset), content, "the image")
    same(h.pread(length, offset), content, "the export")
`));

test('a write on one connection and a flush on another are seen by a third', () =>
  session(`
writer, flusher, reader = connect(), connect(structured=False), connect()
assert writer.can_multi_conn()
for turn in range(20):
    offset = turn * 50000
    reader.pread(65536, offset)
    content = random.randbytes(65536)
    writer.pwrite(content, offset)
    same(reader.pread(65536, offset), content, "the export before the flush")
    flusher.flush()
    same(file_bytes(65536, offset), content, "the image")
    same(reader.pread(65536, offset), content, "the export")
`));

describe.each(['structured', 'simple'])('a client of %s replies', (style) => {
  const connect = `h = connect(structured=${style === 'structured' ? 'True' : 'False'})\n`;

  test('writes the longest request that is offered', () =>
    session(`${connect}
content = random.randbytes(32 * MIB)
h.pwrite(content, 1 * MIB + 1)
same(h.pread(32 * MIB, 1 * MIB + 1), content, "the export")
same(file_bytes(32 * MIB, 1 * MIB + 1), content, "the image")
`));

  test('may write, zero, trim, flush and cache nothing at all', () =>
    session(`${connect}
before = file_bytes(${SIZE}, 0)
for offset in [0, 1, 4096, ${SIZE}]:
    h.pwrite(b"", offset)
    h.pwrite(b"", offset, nbd.CMD_FLAG_FUA)
    h.zero(0, offset)
    h.trim(0, offset)
    h.cache(0, offset)
    assert h.pread(0, offset) == b""
h.flush()
same(h.pread(20 * MIB, 0), before[:20 * MIB], "the export")
same(file_bytes(${SIZE}, 0), before, "the image")
`));
});

test.each(['0', '25%', '90%'])('overlapping changes leave cache and image alike, --hot %s', (hot) =>
  session(
    `
random.seed(7)
# A few pages that are changed and read at once by everyone.
REGION = 300 * KIB
handles = [connect(), connect(structured=False), connect(), connect()]
for turn in range(25):
    kept = []
    for i in range(160):
        h = random.choice(handles)
        length = random.choice([1, 100, 512, 4096, 4096, 8192, 20000, 65536])
        offset = random.randrange(REGION - length)
        if random.random() < 0.6:
            offset -= offset % 4096
        what = random.randrange(10)
        if what < 4:
            buffer = nbd.Buffer(length)
            h.aio_pread(buffer, offset)
        elif what < 8:
            buffer = nbd.Buffer.from_bytearray(bytearray([random.randrange(256)]) * length)
            h.aio_pwrite(buffer, offset)
        elif what == 8:
            h.aio_zero(length, offset, flags=random.choice([0, nbd.CMD_FLAG_NO_HOLE]))
        else:
            h.aio_trim(length, offset)
        kept.append(buffer)
    for h in handles:
        drain(h)
    content = file_bytes(REGION, 0)
    for h in handles:
        same(h.pread(REGION, 0), content, f"turn {turn}")
`,
    ...['--hot', hot],
  ),
);

test('zeroes, trims and block status reach over 4 GiB less a byte', async () => {
  const directory = workspace();
  const image = makeEmptyImage(directory, 6 * 1024 * MIB);
  const server = await startServer(directory, [image, '--memory', '48MiB']);
  const script = `
h = connect(context=True)
ALL = (1 << 32) - 1
PLACES = [50, 101, 1 << 31, ALL + 90, ALL + 101]
def expect(change, *emptied):
    for place in PLACES:
        h.pwrite(b"x", place)
    change(ALL, 100)
    read = [place for place in PLACES if h.pread(1, place) != b"x"]
    assert read == list(emptied), read
expect(h.zero, 101, 1 << 31, ALL + 90)
h.trim(ALL, 100)
found = []
h.block_status(ALL, 4096, lambda c, o, entries, e: found.extend(entries[0::2]))
assert sum(found) == ALL or len(found) > 1, found
`;
  await nbdsh(server, image, script);
});

test('zeroes read as zeros, and stay allocated where holes are not wanted', () =>
  session(`
import os
h = connect()
def allocated():
    return os.stat(IMAGE).st_blocks
for flags in [0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FUA, nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_NO_HOLE]:
    for length, offset in [(4 * MIB, 2 * MIB), (10001, 8 * MIB + 5), (12 * KIB, 12 * MIB)]:
        h.pwrite(random.randbytes(length), offset, nbd.CMD_FLAG_FUA)
        h.pread(length, offset)
        before = allocated()
        h.zero(length, offset, flags)
        same(h.pread(length, offset), bytes(length), "the export")
        same(file_bytes(length, offset), bytes(length), "the image")
        if flags & nbd.CMD_FLAG_NO_HOLE:
            assert allocated() >= before, (length, offset)
        elif length == 4 * MIB:
            assert allocated() < before, (length, offset)
`));

test('zeroes that must be fast are fast, or refused and nothing is changed', () =>
  session(`
h = connect()
content = random.randbytes(1 * MIB)
for flags in [nbd.CMD_FLAG_FAST_ZERO, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE]:
    h.pwrite(content, 1 * MIB)
    try:
        h.zero(1 * MIB, 1 * MIB, flags)
        expected = bytes(1 * MIB)
    except nbd.Error as error:
        assert error.errnum == errno.ENOTSUP, error
        expected = content
    same(h.pread(1 * MIB, 1 * MIB), expected, "the export")
    same(file_bytes(1 * MIB, 1 * MIB), expected, "the image")
`));
