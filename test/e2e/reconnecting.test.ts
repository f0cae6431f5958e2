import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { needsPrograms } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, workspace } from '../tools/workspace.ts';

needsPrograms('qemu-io');

const SIZE = 64 * MIB;
const WRITE_BYTES = MIB / 4;

test.each(['writethrough', 'writeback'])(
  'QEMU with reconnect-delay notices nothing of a server that is started anew while it writes, %s',
  async (mode) => {
    const directory = workspace();
    const image = makeEmptyImage(directory, SIZE);
    const serving = [image, '--mode', mode];
    const first = await startServer(directory, serving);
    const node = `driver=nbd,server.type=unix,server.path=${first.socket},reconnect-delay=60`;
    const commands: string[] = [];
    for (let offset = 0; offset < SIZE; offset += WRITE_BYTES) {
      commands.push(
        '-c',
        `aio_write -P ${1 + ((offset / WRITE_BYTES) % 255)} ${offset} ${WRITE_BYTES}`,
      );
    }
    const client = spawn('qemu-io', ['--image-opts', node, ...commands, '-c', 'aio_flush']);
    onTestFinished(() => {
      client.kill('SIGKILL');
    });
    const exited = once(client, 'exit');
    let said = '';
    client.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    client.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await once(client.stdout, 'data'); // one write was answered, and more are under way
    await first.stop();
    await startServer(directory, serving);
    expect((await exited)[0]).toBe(0);
    expect(said.match(/^wrote \d+\/\d+ bytes/gm)?.length, said.slice(0, 500)).toBe(
      SIZE / WRITE_BYTES,
    );
  },
);
