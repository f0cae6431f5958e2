import { test } from 'vitest';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdsh');

const SIZE = 8 * MIB;
/** Of each four blocks of 64 KiB the second is a hole; see `makeImage`. */
const STATUS = `
SIZE = ${SIZE}
DATA, HOLE = 0, nbd.STATE_HOLE | nbd.STATE_ZERO

def status(h, length, offset, flags=0):
    found = []
    def note(context, start, entries, error):
        assert context == nbd.CONTEXT_BASE_ALLOCATION and start == offset, (context, start)
        found.append(list(zip(entries[0::2], entries[1::2])))
    h.block_status(length, offset, note, flags)
    [extents] = found
    return extents

def is_hole(offset):
    return offset // (64 * KIB) % 4 == 1
`;

async function session(script: string): Promise<void> {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const server = await startServer(directory, [image]);
  await nbdsh(server, image, STATUS + script);
}

test('block status tells holes from data, at page borders and inside pages', () =>
  session(`
h = connect(context=True)
for length, offset in [(SIZE, 0), (1, 0), (1, 70000), (65536, 65536), (100000, 65535), (SIZE - 7, 7)]:
    at = offset
    extents = status(h, length, offset)
    for size, state in extents:
        assert size > 0
        assert state == (HOLE if is_hole(at) else DATA), (at, state)
        assert is_hole(at) == is_hole(at + size - 1), (at, size)
        at += size
    assert at >= offset + length or len(extents) > 1, (length, offset, extents)
    assert at <= SIZE
`));

test('block status of one extent is one, no longer than was asked for', () =>
  session(`
h = connect(context=True)
for offset in range(0, SIZE, 50000):
    [(size, state)] = status(h, 5000, offset, nbd.CMD_FLAG_REQ_ONE)
    assert 1 <= size <= 5000 and state == (HOLE if is_hole(offset) else DATA), (offset, size, state)
`));

test('block status follows what is written, zeroed and trimmed', () =>
  session(`
h = connect(context=True)
assert status(h, 4096, 64 * KIB, nbd.CMD_FLAG_REQ_ONE) == [(4096, HOLE)]
h.pwrite(b"x" * 4096, 64 * KIB)
assert status(h, 4096, 64 * KIB, nbd.CMD_FLAG_REQ_ONE) == [(4096, DATA)]
h.trim(64 * KIB, 64 * KIB)
assert status(h, 4096, 64 * KIB, nbd.CMD_FLAG_REQ_ONE) == [(4096, HOLE)]
h.zero(64 * KIB, 0)
assert status(h, 64 * KIB, 0, nbd.CMD_FLAG_REQ_ONE) == [(64 * KIB, HOLE)]
`));

test('block status is refused without a context, of nothing, and beyond the end', () =>
  session(`
plain = connect()
refused(errno.EINVAL, plain.block_status, 4096, 0, lambda *all: 0)
plain.pread(512, 0)
h = connect(context=True)
for length, offset in [(1, SIZE), (2, SIZE - 1), (4096, 1 << 62), (0, 0)]:
    refused(errno.EINVAL, h.block_status, length, offset, lambda *all: 0)
assert status(h, 1, SIZE - 1) == [(1, DATA)]
`));
