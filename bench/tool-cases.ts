/** What the image tools are asked to do, next to qemu-img, and what they should reach. */

/** Something that is done to an image from its beginning to its end. */
export interface ToolCase {
  readonly suite: 'images';
  readonly id: string;
  readonly title: string;
  readonly source: 'raw' | 'qcow2' | 'large';
  /** Arguments of both tools between the verb and the images, by tool. */
  readonly args: Readonly<Record<ToolName, readonly string[]>>;
  readonly verb: 'convert' | 'check';
  /** The speed of qemu-img so many times, at least. */
  readonly times: number;
}

export const TOOL_NAMES = ['qemu-img', 'tmem-image'] as const;
export type ToolName = (typeof TOOL_NAMES)[number];

/** Ranges that either tool has under way at once; the most that qemu-img takes. */
const THREADS = ['-m', '16'];

function convert(
  id: string,
  title: string,
  times: number,
  formats: { source: 'raw' | 'qcow2'; target: string; more?: readonly string[] },
): ToolCase {
  const { source, target, more = [] } = formats;
  const same = ['-f', source, '-O', target, ...THREADS, ...more];
  return {
    ...{ suite: 'images', id, title, source, verb: 'convert', times },
    // Both write zeros as zeros, and both have what they wrote on the disk when they end.
    args: { 'qemu-img': ['-t', 'writeback', ...same], 'tmem-image': same },
  };
}

/** Every use of a tool, in the order it is run and shown. */
export const TOOL_CASES: readonly ToolCase[] = [
  convert('convert-to-qcow2', 'convert raw to qcow2', 0.8, { source: 'raw', target: 'qcow2' }),
  convert('convert-to-raw', 'convert qcow2 to raw', 0.8, { source: 'qcow2', target: 'raw' }),
  convert('convert-compressed', 'convert qcow2 to qcow2, compressed with zlib', 1, {
    ...{ source: 'qcow2', target: 'qcow2', more: ['-c'] },
  }),
  {
    ...{ suite: 'images', id: 'check-large', source: 'large', verb: 'check', times: 1 },
    title: 'check of 1 TiB with a million clusters',
    args: { 'qemu-img': ['-f', 'qcow2'], 'tmem-image': ['-f', 'qcow2'] },
  },
];
