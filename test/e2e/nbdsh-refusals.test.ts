import { describe, test } from 'vitest';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdsh');

const SIZE = 8 * MIB;

/** Every session ends with a look at what the refused requests must not have touched. */
const UNTOUCHED = `
same(h.pread(${SIZE}, 0), before, "the export afterwards")
same(file_bytes(${SIZE}, 0), before, "the image afterwards")
`;

describe.each(['structured', 'simple'])('a client of %s replies', (style) => {
  async function session(script: string, ...options: string[]): Promise<void> {
    const directory = workspace();
    const image = makeImage(directory, SIZE);
    const server = await startServer(directory, [image, ...options]);
    const connect = `
h = connect(structured=${style === 'structured' ? 'True' : 'False'})
before = file_bytes(${SIZE}, 0)
`;
    await nbdsh(server, image, connect + script + UNTOUCHED);
  }

  test('is refused what lies beyond the end, and its connection lives on', () =>
    session(`
SIZE = ${SIZE}
RANGES = [(1, SIZE), (2, SIZE - 1), (1 * MIB, SIZE - 1), (4096, SIZE + 4096), (4096, 1 << 40),
    (1, (1 << 63) - 1), (4096, (1 << 53) + 4096), (1 * MIB, (1 << 63) - 4096)]
for length, offset in RANGES:
    refused(errno.EINVAL, h.pread, length, offset)
    refused(errno.ENOSPC, h.pwrite, b"x" * length, offset)
    refused(errno.ENOSPC, h.zero, length, offset)
    refused(errno.EINVAL, h.trim, length, offset)
    refused(errno.EINVAL, h.cache, length, offset)
    same(h.pread(512, 512), before[512:1024], "a read between")
for length in [SIZE + 1, (1 << 32) - 1]:
    refused(errno.ENOSPC, h.zero, length, 0)
    refused(errno.EINVAL, h.trim, length, 0)
`));

  test('is refused flags that its request cannot have, and its connection lives on', () =>
    session(`
UNKNOWN = 1 << 12
for flags in [UNKNOWN, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FAST_ZERO, nbd.CMD_FLAG_REQ_ONE]:
    refused(errno.EINVAL, h.pread, 4096, 0, flags=flags)
    refused(errno.EINVAL, h.pwrite, b"x" * 70000, 0, flags=flags)
    refused(errno.EINVAL, h.trim, 4096, 0, flags=flags)
    refused(errno.EINVAL, h.flush, flags=flags)
    refused(errno.EINVAL, h.cache, 4096, 0, flags=flags)
refused(errno.EINVAL, h.zero, 4096, 0, flags=UNKNOWN)
refused(errno.EINVAL, h.zero, 4096, 0, flags=nbd.CMD_FLAG_DF)
`));

  test('may not change a read-only export', () =>
    session(
      `
assert h.is_read_only()
refused(errno.EPERM, h.pwrite, b"x" * 100000, 0)
refused(errno.EPERM, h.zero, 4096, 0)
refused(errno.EPERM, h.trim, 4096, 0)
`,
      ...['--mode', 'read-only'],
    ));
});

test.each(['True', 'False'])(
  'a request that is too long is refused, structured=%s',
  async (style) => {
    const directory = workspace();
    const image = makeEmptyImage(directory, 80 * MIB);
    const server = await startServer(directory, [image]);
    const script = `
h = connect(structured=${style})
h.pwrite(b"x" * 512, 512)
for length in [32 * MIB + 1, 48 * MIB, 64 * MIB]:
    refused(errno.EINVAL, h.pread, length, 0)
    refused(errno.EINVAL, h.pwrite, b"y" * length, 0)
    same(h.pread(1024, 0), bytes(512) + b"x" * 512, "a read between")
same(file_bytes(4096, 0), bytes(512) + b"x" * 512 + bytes(3072), "the image")
`;
    await nbdsh(server, image, script);
  },
);
