import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openImage } from '../../../src/image/open.ts';
import { withFileSizeLimit } from '../../tools/file-size-limit.ts';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { MIB, workspace } from '../../tools/workspace.ts';

needsPrograms('qemu-img', 'prlimit');

it.each([
  ['qed', 8192 * MIB, 4096 * MIB],
  ['qcow', 64 * MIB, 16 * MIB],
])('a %s file whose write failed halfway is sound afterwards', async (formatName, size, later) => {
  const file = join(workspace(), `disk.${formatName}`);
  await runWell('qemu-img', ['create', '-q', '-f', formatName, file, `${size}`]);
  const image = await openImage(file, { isReadOnly: false });
  const page = Buffer.alloc(4096, 1);
  await image.write(page, 0, page.length, 0);
  await image.sync();
  const failed = withFileSizeLimit(MIB, () =>
    image.write(Buffer.alloc(2 * MIB, 0x5a), 0, 2 * MIB, MIB),
  );
  await expect(failed).rejects.toMatchObject({ kind: 'no-space' });
  // A table of its own, or a unit with zeros around the page, where that write has left its bytes.
  await image.write(page, 0, page.length, later);
  await image.close();
  if (formatName === 'qed') {
    // The unit of the write that failed may be lost, and nothing else.
    const { code, stdout } = await runProgram('qemu-img', ['check', '-f', 'qed', file]);
    expect([0, 3], stdout).toContain(code);
  }
  const again = await openImage(file, { isReadOnly: true });
  const read = Buffer.alloc(65_536);
  await again.read(read, 0, read.length, later);
  await again.close();
  expect(read.equals(Buffer.concat([page, Buffer.alloc(65_536 - 4096)]))).toBe(true);
});
