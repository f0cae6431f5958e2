import { test } from 'vitest';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdsh');

const SIZE = 16 * MIB;

/** Behind HALF the image is gone while it is served: reads there fail as on a broken disk. */
const BREAK = `
import os
SIZE, HALF = ${SIZE}, ${SIZE / 2}
before = file_bytes(SIZE, 0)

def break_it():
    os.truncate(IMAGE, HALF)

def mend_it():
    with open(IMAGE, "r+b") as file:
        file.seek(HALF)
        file.write(before[HALF:])
`;

async function session(script: string): Promise<void> {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const server = await startServer(directory, [image, '--memory', '64MiB']);
  await nbdsh(server, image, BREAK + script);
  const where = `cannot read \\d+ bytes at offset \\d+ of "${image}"`;
  const failed = `export "disk.raw": a read failed(?: \\d+ times, the last time)?: ${where}`;
  server.expectAtEnd(new RegExp(`^(?:tmem: ${failed}: .*; it was truncated .*\\n)*$`));
}

test.each(['True', 'False'])('a read that fails is EIO for it alone, structured=%s', (structured) =>
  session(`
h = connect(structured=${structured})
break_it()
for length, offset in [(4096, HALF), (1, SIZE - 1), (65536, HALF - 32768), (262144, 12 * MIB)]:
    for turn in range(2):
        refused(errno.EIO, h.pread, length, offset)
    same(h.pread(length, 0), before[:length], "a read elsewhere")
mend_it()
same(h.pread(4 * MIB, HALF), before[HALF:HALF + 4 * MIB], "the same place, mended")
`),
);

test('a long read that fails in its middle is EIO, and its connection lives on', () =>
  session(`
h = connect()
break_it()
for offset in [HALF - 2 * MIB, HALF - 4096, HALF]:
    refused(errno.EIO, h.pread, 4 * MIB, offset)
    same(h.pread(2 * MIB, HALF - 2 * MIB), before[HALF - 2 * MIB:HALF], "up to the middle")
mend_it()
same(h.pread(SIZE, 0), before, "all of it, mended")
`));

test('a long read that fails in its middle ends a connection of simple replies, not another', () =>
  session(`
h, other = connect(structured=False), connect()
break_it()
try:
    h.pread(4 * MIB, HALF - 2 * MIB)
    raise AssertionError("a broken image was read")
except nbd.Error:
    pass
same(other.pread(HALF, 0), before[:HALF], "what is there")
`));

test('requests under way beside a failing one are answered rightly', () =>
  session(`
h = connect()
break_it()
random.seed(3)
asked = []
for i in range(400):
    length = random.choice([512, 4096, 20000, 262144])
    offset = random.randrange(SIZE - length)
    buffer = nbd.Buffer(length)
    asked.append((h.aio_pread(buffer, offset), buffer, length, offset))
drain(h)
for cookie, buffer, length, offset in asked:
    if offset + length > HALF:
        refused(errno.EIO, h.aio_command_completed, cookie)
    else:
        assert h.aio_command_completed(cookie)
        same(buffer.to_bytearray(), before[offset:offset + length], f"{length} at {offset}")
`));

test('what is cached is still served when the image is broken', () =>
  session(`
h = connect()
h.pread(64 * KIB, HALF + 2 * MIB)
break_it()
wanted = before[HALF + 2 * MIB:HALF + 2 * MIB + 64 * KIB]
same(h.pread(64 * KIB, HALF + 2 * MIB), wanted, "cached pages")
`));
