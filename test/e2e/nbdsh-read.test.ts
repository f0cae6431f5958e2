import { describe, test } from 'vitest';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdsh');

const SIZE = 24 * MIB;

async function session(script: string, ...options: string[]): Promise<void> {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const server = await startServer(directory, [image, ...options]);
  await nbdsh(server, image, script);
}

const RANGES = `
SIZE = ${SIZE}
RANGES = [(1, 0), (512, 0), (1, 1), (2, 4095), (4096, 4096), (131073, 65535), (7, 65530),
    (256 * KIB, 0), (256 * KIB + 1, 0), (256 * KIB, 100), (700001, 33333), (6 * MIB, 12345),
    (24 * MIB, 0), (1, SIZE - 1), (513, SIZE - 513), (0, 0), (0, SIZE)]
`;

describe.each(['structured', 'simple'])('a client of %s replies', (style) => {
  const connect = `h = connect(structured=${style === 'structured' ? 'True' : 'False'})\n`;

  test.each(['0', '25%', '90%'])('reads any range, cold and warm, with --hot %s', (hot) =>
    session(
      `${RANGES + connect}
for length, offset in RANGES + RANGES:
    same(h.pread(length, offset), file_bytes(length, offset), f"{length} at {offset}")
`,
      ...['--memory', '48MiB', '--hot', hot],
    ),
  );

  test('reads any range from a cache that is smaller than the image', () =>
    session(
      `${RANGES + connect}
for length, offset in RANGES + RANGES[::-1]:
    same(h.pread(length, offset), file_bytes(length, offset), f"{length} at {offset}")
`,
      ...['--memory', '32MiB', '--hot', '25%'],
    ));

  test('gets each answer to the right one of many overlapping requests', () =>
    session(`${connect}
random.seed(1)
for turn in range(3):
    asked = []
    for i in range(300):
        length = random.choice([1, 512, 4096, 10000, 65536, 262144, 1000000])
        offset = random.randrange(${SIZE} - length)
        buffer = nbd.Buffer(length)
        asked.append((h.aio_pread(buffer, offset), buffer, length, offset))
    drain(h)
    for cookie, buffer, length, offset in asked:
        assert h.aio_command_completed(cookie)
        same(buffer.to_bytearray(), file_bytes(length, offset), f"{length} at {offset}")
`));
});

test('a structured read of cached zeros is told of a hole instead', () =>
  session(
    `
h = connect()
def parts(length, offset):
    seen = []
    h.pread_structured(length, offset, lambda b, o, s, e: seen.append((s, o, len(b))))
    return seen
h.pread(256 * KIB, 0)
assert parts(64 * KIB, 64 * KIB) == [(nbd.READ_HOLE, 64 * KIB, 64 * KIB)]
assert parts(999, 70001) == [(nbd.READ_HOLE, 70001, 999)]
assert parts(64 * KIB, 0) == [(nbd.READ_DATA, 0, 64 * KIB)]
assert parts(64 * KIB, 100 * KIB) == [(nbd.READ_DATA, 100 * KIB, 64 * KIB)]
`,
    ...['--hot', '0'],
  ));

test('a structured read is answered by chunks that cover it once', () =>
  session(`
h = connect()
def cover(length, offset):
    seen = []
    h.pread_structured(length, offset, lambda b, o, s, e: seen.append((o, len(b))))
    at = offset
    for start, size in sorted(seen):
        assert start == at and size > 0, (start, at, size)
        at += size
    assert at == offset + length, (at, offset, length)
for turn in range(2):
    for length, offset in [(5 * MIB, 0), (3 * MIB + 7, 1001), (256 * KIB, 4095), (1, 5)]:
        cover(length, offset)
`));

test('a read with DF is answered in one chunk, or refused when it is long', () =>
  session(`
h = connect()
def chunks(length, offset):
    seen = []
    h.pread_structured(length, offset, lambda b, o, s, e: seen.append((s, o, bytes(b))), nbd.CMD_FLAG_DF)
    return seen
for turn in range(2):
    for length, offset in [(64 * KIB, 64 * KIB), (64 * KIB, 32 * KIB + 1), (5, 3)]:
        [(status, start, content)] = chunks(length, offset)
        assert status in (nbd.READ_DATA, nbd.READ_HOLE) and start == offset
        same(content, file_bytes(length, offset), "one chunk")
    refused(errno.EOVERFLOW, chunks, 20 * MIB, 0)
same(h.pread(4096, 0), file_bytes(4096, 0), "afterwards")
`));

test('CACHE brings pages into the cache: they are there when the image is not', () =>
  session(`
import os
h = connect()
wanted = file_bytes(3 * MIB, 1 * MIB)
h.cache(3 * MIB, 1 * MIB)
h.cache(0, 0)
os.truncate(IMAGE, 0)
same(h.pread(3 * MIB, 1 * MIB), wanted, "read ahead by CACHE")
os.truncate(IMAGE, ${SIZE})
`));
