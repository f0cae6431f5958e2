/** What the image tools are asked to do, next to qemu-img, and what they should reach. */

/** Something that is done to an image from its beginning to its end. */
export interface ToolCase {
  readonly suite: 'images';
  readonly id: string;
  readonly title: string;
  readonly source: 'raw' | 'qcow2' | 'scattered' | 'packed';
  /** Arguments of both tools between the verb and the images, by tool. */
  readonly args: Readonly<Record<ToolName, readonly string[]>>;
  readonly verb: 'convert' | 'check';
  /** The time ends when what was written is on the disk, and not with the tool. */
  readonly isSynced: boolean;
  /** The speed of qemu-img so many times, at least. */
  readonly times: number;
}

export const TOOL_NAMES = ['qemu-img', 'tmem-image'] as const;
export type ToolName = (typeof TOOL_NAMES)[number];

/** Ranges that either tool has under way at once; the most that qemu-img takes. */
const THREADS = ['-m', '16'];

interface Conversion {
  readonly source: 'raw' | 'qcow2';
  readonly target: string;
  readonly more?: readonly string[];
}

/** Both ways of each: to the disk, and into the page cache, which is what qemu-img does untold. */
function convert(id: string, title: string, times: number, formats: Conversion): ToolCase[] {
  const { source, target, more = [] } = formats;
  const same = ['-f', source, '-O', target, ...THREADS, ...more];
  const shared = { suite: 'images', source, verb: 'convert', times } as const;
  return [
    {
      ...{ ...shared, id, title: `${title}, to the disk`, isSynced: true },
      args: { 'qemu-img': ['-t', 'writeback', ...same], 'tmem-image': same },
    },
    {
      ...{ ...shared, id: `${id}-cached`, title: `${title}, not synced`, isSynced: false },
      args: { 'qemu-img': same, 'tmem-image': ['--sync=off', ...same] },
    },
  ];
}

function check(id: string, title: string, source: 'scattered' | 'packed'): ToolCase {
  const args = ['-f', 'qcow2'];
  return {
    ...{ suite: 'images', id, title, source, verb: 'check', isSynced: false, times: 1 },
    args: { 'qemu-img': args, 'tmem-image': args },
  };
}

/** Every use of a tool, in the order it is run and shown. */
export const TOOL_CASES: readonly ToolCase[] = [
  ...convert('convert-to-qcow2', 'convert raw to qcow2', 0.8, { source: 'raw', target: 'qcow2' }),
  ...convert('convert-to-raw', 'convert qcow2 to raw', 0.8, { source: 'qcow2', target: 'raw' }),
  ...convert('convert-compressed', 'convert to qcow2 with zlib', 1, {
    ...{ source: 'qcow2', target: 'qcow2', more: ['-c'] },
  }),
  check('check-large', 'check of 1 TiB with a million clusters, scattered', 'scattered'),
  check('check-packed', 'check of 1 TiB with a million clusters, packed', 'packed'),
];
