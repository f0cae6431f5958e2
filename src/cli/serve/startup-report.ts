/** What is printed once the service listens. */

import { formatSize } from '../../lib/sizes.ts';
import type { RunningService } from '../../service/settings.ts';
import { shellWord } from '../command/shell-word.ts';
import { printable } from '../terminal/table.ts';

/** Every fact about the running service as a single line of JSON, for programs. */
export function jsonReport(running: RunningService, version: string): string {
  const { exports, metricsUrl, memoryLimitBytes, codecDescription: codec } = running;
  return `${JSON.stringify({
    version,
    exports,
    metricsUrl: metricsUrl ?? null,
    memoryLimitBytes,
    codec,
  })}\n`;
}

/** The same facts for people. */
export function textReport(running: RunningService, version: string): string {
  const lines = [`tmem ${version}`];
  for (const { name, sizeBytes, mode, uris } of running.exports) {
    const size = `${formatSize(sizeBytes)} (${sizeBytes} bytes)`;
    lines.push(
      `export   ${printable(name)}, ${size}, ${mode}`,
      ...uris.map((uri) => `         ${uri}`),
    );
  }
  lines.push(
    `metrics  ${running.metricsUrl ?? 'none'}`,
    `memory   at most ${formatSize(running.memoryLimitBytes)}`,
    `codec    ${running.codecDescription}`,
  );
  return `${lines.join('\n')}\n`;
}

/** Commands that a newcomer can paste into another terminal. */
export function nextSteps(running: RunningService): string {
  const uri = running.exports[0]?.uris[0];
  if (uri === undefined) return '';
  const quoted = shellWord(uri);
  const lines = [
    'Try next, in another terminal:',
    `  nbdinfo ${quoted}`,
    `  nbdcopy --progress ${quoted} null:`,
    `  fio --name=try --ioengine=nbd --uri=${quoted} --rw=randread --bs=4k --iodepth=32 \\`,
    '      --runtime=10 --time_based',
    ...(running.metricsUrl === undefined ? [] : [`  curl -s ${curlTarget(running.metricsUrl)}`]),
    'and, with an image of your own (tmem serve disk.raw):',
    '  qemu-system-x86_64 -m 1G \\',
    `      -drive file=${shellWord(siblingUri(uri, 'disk.raw'))},format=raw,if=virtio`,
  ];
  return `\n${lines.join('\n')}\n`;
}

/** How curl is told of a URL; it knows none with a socket in the place of the host. */
function curlTarget(url: string): string {
  const [, socket, path] = /^http\+unix:\/\/([^/]*)(.*)$/.exec(url) ?? [];
  if (socket === undefined) return shellWord(url);
  return `--unix-socket ${shellWord(decodeURIComponent(socket))} http://localhost${path}`;
}

/** The URI of another export of the same server. */
function siblingUri(uri: string, name: string): string {
  return uri.replace(/^(nbd(?:\+unix)?:\/\/[^/]*)\/[^?]*/, `$1/${name}`);
}
