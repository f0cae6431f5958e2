import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { expectSame, makeServed, passphraseIn, SERVED_KINDS } from '../tools/served-kinds.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('qemu-img', 'nbdsh', 'nbdcopy');

/** No multiple of any cluster. */
const SIZE = 5 * MIB + 1536;

/** Writes and zeroes here and there, some at once, and in a raw file too. */
const SCRIBBLE = `
def scribble(name, model):
    random.seed(name)
    h = connect(uri=URI.replace("///", f"///{name}"))
    file = open(model, "r+b")
    if h.pread(512, 0) != bytes(512): # an enciphered disk is noise where nothing was written
        h.zero(h.get_size(), 0)
    for round in range(7):
        cuts = sorted(random.sample(range(h.get_size() // 512), 14))
        cookies = []
        for first, end in zip(cuts[::2], cuts[1::2]):
            offset, length = first * 512, min((end - first) * 512, 700 * KIB)
            kind = random.choice(["write", "write", "write", "fua", "zero", "hole", "keep"])
            file.seek(offset)
            if kind in ("write", "fua"):
                data = random.randbytes(length // 2) + bytes([round]) * (length - length // 2)
                flags = nbd.CMD_FLAG_FUA if kind == "fua" else 0
                buffer = nbd.Buffer.from_bytearray(bytearray(data))
                cookies.append(h.aio_pwrite(buffer, offset, flags=flags))
                file.write(data)
            else:
                flags = nbd.CMD_FLAG_NO_HOLE if kind == "keep" else 0
                cookies.append(h.aio_zero(length, offset, flags=flags))
                file.write(bytes(length))
        drain(h)
        for cookie in cookies:
            assert h.aio_command_completed(cookie)
        if round % 3 == 2:
            h.flush()
    file.close()
    for at in range(0, h.get_size(), MIB):
        length = min(MIB, h.get_size() - at)
        same(h.pread(length, at), file_bytes(length, at, model), f"{name} at {at}")

for name, model in MODELS:
    scribble(name, model)
`;

test.each(['writethrough', 'writeback'])(
  'images of every format hold what was written to them through NBD, %s',
  { timeout: 180_000 },
  async (mode) => {
    const directory = workspace();
    const images: string[] = [];
    const models: [string, string][] = [];
    for (const [i, kind] of SERVED_KINDS.entries()) {
      const home = path.join(directory, `kind${i}`);
      fs.mkdirSync(home);
      images.push(await makeServed(home, kind, SIZE));
      models.push([`kind${i}`, makeEmptyImage(home, SIZE, 'model.raw')]);
    }
    const exports = images.map((image, i) => `kind${i}=${image}`);
    const args = ['--mode', mode, '--memory', '192MiB', ...passphraseIn(directory)];
    const server = await startServer(directory, [...exports, ...args]);
    const script = `MODELS = ${JSON.stringify(models)}\n${SCRIBBLE}`;
    await nbdsh(server, path.join(directory, 'kind0'), script);
    await server.stop();
    for (const [i, kind] of SERVED_KINDS.entries()) {
      await expectSame(kind, images[i] ?? '', models[i]?.[1] ?? '');
    }
  },
);

test.each(SERVED_KINDS.filter(({ name }) => /^(qcow2|qed|qcow|vmdk|luks)$/.test(name)))(
  '$name is copied into and out of by nbdcopy and qemu-img, and what was sparse stays so',
  async (kind) => {
    const directory = workspace();
    const size = 16 * MIB;
    const model = makeEmptyImage(directory, size, 'model.raw');
    await runWell('qemu-io', [
      ...['-f', 'raw', '-c', 'write -P 3 1M 100k', '-c', 'write -P 4 9000k 1M'],
      model,
    ]);
    const image = await makeServed(directory, kind, size);
    const server = await startServer(directory, [image, ...passphraseIn(directory)]);
    const raw = ['-f', 'raw', '-O', 'raw', '-n'];
    await runWell('nbdcopy', ['--flush', model, server.uri()]);
    const copies = ['one.raw', 'two.raw'].map((name) => path.join(directory, name));
    await runWell('nbdcopy', [server.uri(), copies[0] ?? '']);
    await runWell('qemu-img', ['convert', ...raw.slice(0, -1), server.uri(), copies[1] ?? '']);
    for (const copy of copies) {
      await runWell('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', copy, model]);
      expect(await takenBytes(copy)).toBeLessThan(2 * MIB);
    }
    const other = makeImage(directory, size, 'other.raw');
    await runWell('qemu-img', ['convert', ...raw, other, server.uri()]);
    await server.stop();
    await expectSame(kind, image, other);
  },
);

async function takenBytes(file: string): Promise<number> {
  const used = await runWell('du', ['--block-size=1', file]);
  return Number(used.split('\t')[0]);
}
