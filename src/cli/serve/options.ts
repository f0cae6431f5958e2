/** The options of `tmem serve`, and what they ask of the configuration. */

import { resolve } from 'node:path';
import { withAbsolutePaths } from '../../config/paths.ts';
import { parseAdmin, type RequestedConfig, type RequestedExport } from '../../config/schema.ts';
import {
  checkCopyRate,
  checkExportName,
  checkRecordLimit,
  checkRecordSample,
  DRAIN_SECONDS_MAX,
  FORMAT_NAMES,
  IO_NAMES,
  MODES,
  POLICY_NAMES,
  parseCount,
  parseFraction,
  parseName,
  parseRamDisk,
  parseSwap,
  SPIN_MICROSECONDS_MAX,
} from '../../config/values.ts';
import { TmemError } from '../../lib/errors.ts';
import { parseListenAddress } from '../../lib/listen-address.ts';
import { parseSize } from '../../lib/sizes.ts';
import {
  COMMON_OPTIONS,
  type OptionTable,
  type ParsedArguments,
  readValue,
} from '../command/arguments.ts';
import { type CliContext, fullPath } from '../command/context.ts';
import { formatOptions } from '../command/help.ts';

const POLICY_HELP = [POLICY_NAMES.slice(0, 6), POLICY_NAMES.slice(6)]
  .map((names) => names.join(', '))
  .join(',\n');

export const SERVE_OPTIONS = {
  memory: {
    value: 'SIZE',
    help: 'what the cache may use, at least 32MiB (default:\na quarter of the machine or cgroup)',
  },
  hot: {
    value: 'SHARE',
    help: 'the share that keeps pages uncompressed, as 25%,\n0.25, or 0 for none (default: 25%)',
  },
  policy: {
    value: 'NAME',
    help: `what leaves first (default: s3fifo-cw):\n${POLICY_HELP}`,
  },
  listen: {
    value: 'ADDRESS',
    help: 'unix:PATH or tcp:HOST:PORT; may be repeated\n(default: tcp:127.0.0.1:10809)',
  },
  admin: {
    value: 'ADDRESS',
    help: 'where metrics and control are: HOST:PORT, unix:PATH\nor none (default: 127.0.0.1:9842)',
  },
  mode: {
    value: 'MODE',
    help: `for every export: ${MODES.join(', ')}\n(default: writethrough)`,
  },
  swap: {
    value: 'NAME=SIZE[,overflow=FILE]',
    help: 'a device in compressed memory, which overflows\ninto FILE; may be repeated',
  },
  ram: { value: 'NAME=SIZE', help: 'a disk in memory, lost at the end; may be repeated' },
  format: {
    value: 'FORMAT',
    help: 'of every image: raw, qcow2, qed, qcow, vmdk, cow or\nluks (default: by the ending of its name, else raw)',
  },
  'allow-backing': {
    value: 'DIRECTORY',
    help: 'images may name files there, beside those in their\nown directory; may be repeated',
  },
  'backing-format': {
    value: 'FORMAT',
    help: 'of backing files, where the image does not say it',
  },
  'passphrase-file': { value: 'FILE', help: 'what opens enciphered images' },
  'load-snapshot': {
    value: 'NAME',
    help: 'serve that internal snapshot of a qcow2 image, by\nname or id; needs --mode read-only',
  },
  'copy-base': {
    value: 'RATE',
    help: 'copy what images are based on into them, so many\nbytes a second, then let go of it',
  },
  'dirty-limit': {
    value: 'SIZE',
    help: 'written pages that disks may lack, in writeback\n(default: a quarter of the memory)',
  },
  'drain-timeout': {
    value: 'SECONDS',
    help: 'how long stopping may take to write them\n(default: 60)',
  },
  snapshot: {
    value: 'FILE',
    help: 'keep clean pages there when stopping, and start\nwith them',
  },
  record: {
    value: 'FILE',
    help: 'record there what clients ask, for tmem replay;\nthe file must not exist',
  },
  'record-dir': {
    value: 'DIRECTORY',
    help: 'let recordings be switched on and off (tmem\nrecord), and put them there',
  },
  'record-limit': {
    value: 'SIZE',
    help: 'what all recordings may come to (default: 1GiB)',
  },
  'record-sample': {
    value: 'SHARE',
    help: 'of the pages, whose requests are recorded, as 10%\n(default: all)',
  },
  governor: {
    value: 'on|off',
    help: 'give memory back when the machine or cgroup is\nshort of it (default: on)',
  },
  advisor: {
    value: 'on|off',
    help: 'find out what more memory or another policy would\ndo: metrics, tmem status (default: on)',
  },
  'token-file': {
    value: 'FILE',
    help: 'who asks the admin address must know what is in\nthere; needed where others can reach it',
  },
  buffered: { help: "use the system's page cache also where the file\nsystem could do without" },
  io: {
    value: 'auto|threads',
    help: 'read and write images through io_uring where there is\none, or through threads only (default: auto)',
  },
  spin: {
    value: 'MICROSECONDS',
    help: 'stay awake this long after a request, and up to\nfour times for a lone reply; 0 costs latency and saves\npower (default: 150)',
  },
  config: { value: 'FILE', help: 'read settings from YAML; options override them' },
  'print-config': { help: 'print the configuration that applies, and end' },
  json: { help: 'print what is served as one line of JSON' },
  verbose: { help: 'tell more on stderr' },
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

export type ServeOption = keyof typeof SERVE_OPTIONS;

export const SERVE_HELP = `Usage: tmem serve [OPTION]... [[NAME=]IMAGE]...

Serves images over NBD through a compressed cache in memory. An export is called NAME, or else
as the image's file; the first one is the default export too. Without an image, a demonstration
image is made and served. An IMAGE with a "=" in its name is given with a directory: ./a=b.raw.

Options:
${formatOptions(SERVE_OPTIONS)}

Sizes are bytes, or have a suffix: KiB, MiB, GiB, TiB, or K, M, G, T for the same powers of 1024.

Modes: writethrough answers a write when the image has it, and keeps the page; writearound does not
keep it; writeback answers from memory and writes it to the image within seconds, at a FLUSH, or
when too much is unwritten; read-only takes no writes.

A format is never guessed from what is in an image, which its guest may have written. Files that an
image names are opened only in its own directory, or where --allow-backing says.

In the configuration file, settings are called as the options, without hyphens (dirtyLimit). It may
also say exports, swap and ram (lists of name, path or size and overflow, mode, format, weight, cap,
minimum), codec, pageSize, maxConnections and handshakeTimeoutMs; --print-config shows them all.
Relative paths in it start at its own directory.

Started with listening sockets (LISTEN_FDS, as by systemd or nbdinfo [ tmem serve IMAGE ]), it
serves on those alone, is silent unless --verbose is given, and has no admin port unless --admin
asks for one.

SIGTERM, SIGINT or SIGHUP: no new connections, requests in flight are answered, what is unwritten
is written to the images, exit code 0. A second SIGTERM or SIGINT ends it at once, with 143 or 130.
Other exit codes: 1 failed while running, or could not write what was unwritten; 2 cannot be carried
out.
`;

/** Reads `[NAME=]IMAGE`. A "=" after a "/" belongs to the path. */
export function parseImageArgument(text: string): RequestedExport {
  const [, name, path = text] = /^([^/=]*)=(.*)$/s.exec(text) ?? [];
  if (path === '') throw new TmemError('usage', `"${text}" names no image; write [NAME=]IMAGE`);
  return name === undefined ? { path } : { name: checkExportName(name), path };
}

type Given<Options> = { [Key in keyof Options]?: Exclude<Options[Key], undefined> };

/** What was not given must be absent, not undefined, so that it does not hide the file's value. */
function withoutUndefined<Options extends object>(options: Options): Given<Options> {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Given<Options>;
}

/** What the command line asks for, with every path as one from the root. */
export function requestOf(
  parsed: ParsedArguments<ServeOption>,
  context: Pick<CliContext, 'directory'>,
): RequestedConfig {
  function given<Value>(option: ServeOption, parse: (text: string) => Value): Value | undefined {
    const text = parsed.last(option);
    return text === undefined ? undefined : readValue(option, text, parse);
  }
  const request = {
    exports: parsed.positionals.length > 0 ? parsed.positionals.map(parseImageArgument) : undefined,
    memory: given('memory', parseSize),
    hot: given('hot', parseFraction),
    policy: given('policy', (text) => parseName(text, POLICY_NAMES)),
    listen: parsed.has('listen')
      ? parsed.all('listen').map((text) => readValue('listen', text, parseListenAddress))
      : undefined,
    admin: given('admin', parseAdmin),
    swap: parsed.has('swap')
      ? parsed.all('swap').map((text) => readValue('swap', text, parseSwap))
      : undefined,
    ram: parsed.has('ram')
      ? parsed.all('ram').map((text) => readValue('ram', text, parseRamDisk))
      : undefined,
    format: given('format', (text) => parseName(text, FORMAT_NAMES)),
    backingFormat: given('backing-format', (text) => parseName(text, FORMAT_NAMES)),
    allowBacking: parsed.has('allow-backing') ? [...parsed.all('allow-backing')] : undefined,
    passphraseFile: parsed.last('passphrase-file'),
    loadSnapshot: parsed.last('load-snapshot'),
    copyBase: given('copy-base', (text) => checkCopyRate(parseSize(text))),
    dirtyLimit: given('dirty-limit', parseSize),
    drainTimeout: given('drain-timeout', (text) => parseCount(text, 1, DRAIN_SECONDS_MAX)),
    snapshot: parsed.last('snapshot'),
    record: parsed.last('record'),
    recordDir: parsed.last('record-dir'),
    recordLimit: given('record-limit', (text) => checkRecordLimit(parseSize(text))),
    recordSample: given('record-sample', (text) => checkRecordSample(parseFraction(text))),
    governor: given('governor', (text) => parseName(text, ['on', 'off']) === 'on'),
    advisor: given('advisor', (text) => parseName(text, ['on', 'off']) === 'on'),
    tokenFile: parsed.last('token-file'),
    mode: given('mode', (text) => parseName(text, MODES)),
    spin: given('spin', (text) => parseCount(text, 0, SPIN_MICROSECONDS_MAX)),
    buffered: parsed.has('buffered') ? true : undefined,
    io: given('io', (text) => parseName(text, IO_NAMES)),
  };
  return withAbsolutePaths(withoutUndefined(request), (path) => resolve(fullPath(path, context)));
}
