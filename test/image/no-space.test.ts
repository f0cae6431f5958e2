import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openImage } from '../../src/image/open.ts';
import { withFileSizeLimit } from '../tools/file-size-limit.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { MIB, workspace } from '../tools/workspace.ts';

needsPrograms('qemu-img', 'prlimit');

const UNIT = 65_536;
const WRITES = 12;
const TRIES = 10;

it.each(['qcow2', 'qed', 'qcow', 'vmdk'])(
  'a full disk takes no space of a %s file, however often writes are tried again',
  async (formatName) => {
    const file = join(workspace(), `disk.${formatName}`);
    await runWell('qemu-img', ['create', '-q', '-f', formatName, file, `${64 * MIB}`]);
    const before = await openImage(file, { isReadOnly: false });
    const data = Buffer.alloc(UNIT, 0x5a);
    await before.write(data, 0, UNIT, 0);
    await before.close(); // open, it may end farther on than what is in it
    const full = statSync(file).size;
    const image = await openImage(file, { isReadOnly: false });
    const writeAll = () =>
      Promise.allSettled(
        Array.from({ length: WRITES }, (_, i) => image.write(data, 0, UNIT, (2 * i + 1) * UNIT)),
      );
    await withFileSizeLimit(full, async () => {
      for (let round = 0; round < TRIES; round++) {
        const outcomes = await writeAll();
        expect(outcomes.map(({ status }) => status)).not.toContain('fulfilled');
      }
    });
    const outcomes = await writeAll();
    expect(outcomes.map(({ status }) => status)).not.toContain('rejected');
    await image.close();
    // What the last tries gave up may still be on its way to be free.
    expect(statSync(file).size).toBeLessThanOrEqual(full + 3 * WRITES * UNIT);
    if (formatName !== 'qcow') await runWell('qemu-img', ['check', '-q', '-f', formatName, file]);
  },
);
