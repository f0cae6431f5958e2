/** What a configuration file may say. Its keys are the names of the options, where there is one. */

import { z } from 'zod';
import { TmemError } from '../lib/errors.ts';
import {
  DEFAULT_ADMIN_ADDRESS,
  parseListenAddress,
  type TcpAddress,
  type UnixAddress,
} from '../lib/listen-address.ts';
import { parseSize } from '../lib/sizes.ts';
import {
  CODEC_NAMES,
  CONNECTIONS_MAX,
  checkCopyRate,
  checkExportName,
  checkRamDiskSize,
  checkRecordLimit,
  checkRecordSample,
  checkSwapSize,
  checkWeight,
  DRAIN_SECONDS_MAX,
  FORMAT_NAMES,
  IO_NAMES,
  MODES,
  POLICY_NAMES,
  parseFraction,
  SPIN_MICROSECONDS_MAX,
} from './values.ts';

/** The value of `--admin` and `admin` for no listener at all. */
export const NO_ADMIN = 'none';

/** Lets one of our own parsers, which throw, read a value; what it says becomes the issue. */
function readBy<In, Out>(read: (value: In) => Out) {
  return (value: In, context: z.RefinementCtx<In>): Out => {
    try {
      return read(value);
    } catch (error) {
      if (!(error instanceof TmemError)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
      return z.NEVER;
    }
  };
}

/** YAML makes a number of `4096` and a string of `4KiB`; both are sizes. */
const textOrNumber = z.union([z.string(), z.number()]).transform(String);
const size = textOrNumber.transform(readBy(parseSize));
const fraction = textOrNumber.transform(readBy(parseFraction));
const path = z
  .string()
  .min(1)
  .refine((text) => !text.includes('\0'), 'no path holds a NUL; write another');
const address = z.string().transform(readBy(parseListenAddress));

/** Reads the value of `--admin`: an address or `none`. */
export function parseAdmin(text: string): UnixAddress | TcpAddress | typeof NO_ADMIN {
  return text === NO_ADMIN ? NO_ADMIN : parseListenAddress(text, DEFAULT_ADMIN_ADDRESS);
}

/** What an export or a swap device may take of the memory. */
const share = {
  weight: z.number().transform(readBy(checkWeight)).optional(),
  cap: size.optional(),
  minimum: size.optional(),
};

/** How an image is to be opened, where neither it nor its name tells. */
const opening = {
  format: z.enum(FORMAT_NAMES).optional(),
  backingFormat: z.enum(FORMAT_NAMES).optional(),
  passphraseFile: path.optional(),
  loadSnapshot: z.string().min(1).optional(),
  copyBase: size.transform(readBy(checkCopyRate)).optional(),
};

const exportSchema = z.strictObject({
  name: z.string().transform(readBy(checkExportName)).optional(),
  path,
  mode: z.enum(MODES).optional(),
  ...opening,
  ...share,
});

const swapSchema = z.strictObject({
  name: z.string().transform(readBy(checkExportName)),
  size: size.transform(readBy(checkSwapSize)),
  overflow: path.optional(),
  ...share,
});

const ramSchema = z.strictObject({
  name: z.string().transform(readBy(checkExportName)),
  size: size.transform(readBy(checkRamDiskSize)),
});

/** A configuration file's content, before defaults and options are applied. */
export const fileSchema = z.strictObject({
  exports: z.array(exportSchema).optional(),
  swap: z.array(swapSchema).optional(),
  ram: z.array(ramSchema).optional(),
  mode: z.enum(MODES).optional(),
  ...opening,
  allowBacking: z.array(path).optional(),
  dirtyLimit: size.optional(),
  drainTimeout: z.int().min(1).max(DRAIN_SECONDS_MAX).optional(),
  snapshot: path.optional(),
  record: path.optional(),
  recordDir: path.optional(),
  recordLimit: size.transform(readBy(checkRecordLimit)).optional(),
  recordSample: fraction.transform(readBy(checkRecordSample)).optional(),
  governor: z.boolean().optional(),
  advisor: z.boolean().optional(),
  tokenFile: path.optional(),
  memory: size.optional(),
  hot: fraction.optional(),
  policy: z.enum(POLICY_NAMES).optional(),
  listen: z.array(address).min(1).optional(),
  admin: z.string().transform(readBy(parseAdmin)).optional(),
  spin: z.int().min(0).max(SPIN_MICROSECONDS_MAX).optional(),
  buffered: z.boolean().optional(),
  io: z.enum(IO_NAMES).optional(),
  codec: z.enum(CODEC_NAMES).optional(),
  pageSize: size.optional(),
  maxConnections: z.int().min(1).max(CONNECTIONS_MAX).optional(),
  handshakeTimeoutMs: z.int().min(1).max(3_600_000).optional(),
});

/** What was asked for, in a file or by options; nothing in it has been defaulted. */
export type RequestedConfig = z.output<typeof fileSchema>;

/** One swap device as asked for. */
export type RequestedSwap = z.output<typeof swapSchema>;

/** One RAM disk as asked for. */
export type RequestedRamDisk = z.output<typeof ramSchema>;

/** One export as asked for. */
export type RequestedExport = z.output<typeof exportSchema>;

/** The keys of a strict object schema at `path`, to suggest one for a typo. */
export function keysAt(path: readonly PropertyKey[]): readonly string[] {
  if (path[0] === 'exports') return Object.keys(exportSchema.shape);
  if (path[0] === 'ram') return Object.keys(ramSchema.shape);
  return Object.keys(path[0] === 'swap' ? swapSchema.shape : fileSchema.shape);
}
