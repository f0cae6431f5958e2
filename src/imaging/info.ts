/** What is to be known of images without opening what they name, or, where asked, with it. */

import type { FormatName, ImageInfo, ImageReference } from '../image/format.ts';
import { driverOf, formatNameOf, warnOfContent } from '../image/formats.ts';
import { Gate } from '../image/gate.ts';
import { TmemError } from '../lib/errors.ts';
import { type FileStorage, openFileStorage } from '../storage/file.ts';

export interface InfoOptions {
  readonly formatName?: FormatName | undefined;
  /** Goes on to the images below, through the gate. Default false. */
  readonly isChain?: boolean | undefined;
  readonly allowBacking?: readonly string[] | undefined;
  /** Of the images below, where the one above does not say it. */
  readonly backingFormatName?: FormatName | undefined;
  /** Hears of what is not wrong, but may not be what was meant. */
  readonly warn?: ((message: string) => void) | undefined;
}

export interface FileInfo extends ImageInfo {
  /** Of the file that it is kept in. */
  readonly path: string;
  readonly fileBytes: number;
}

/** Of the image at `path`, and those below it from the top down. */
export async function imageInfo(path: string, options: InfoOptions): Promise<FileInfo[]> {
  const gate = new Gate({ allowBacking: options.allowBacking ?? [] });
  const top = await openFileStorage(path, { isReadOnly: true, isContainer: true });
  const infos: FileInfo[] = [];
  const opened = [top];
  try {
    gate.admit(top);
    const { formatName: topName = formatNameOf(path) } = options;
    if (options.formatName === undefined) await warnOfContent(top, topName, options);
    infos.push(await infoOf(top, path, topName));
    for (let above = infos[0]; options.isChain === true && above?.backing !== undefined; ) {
      const { backing }: FileInfo = above;
      const formatName = formatOf(above, backing, options);
      const referrer = { path: above.path, depth: infos.length - 1 };
      const below = await gate.open(referrer, backing, true);
      opened.push(below.storage);
      above = await infoOf(below.storage, below.path, formatName);
      infos.push(above);
    }
    return infos;
  } finally {
    for (const storage of opened) await storage.close();
  }
}

async function infoOf(
  storage: FileStorage,
  path: string,
  formatName: FormatName,
): Promise<FileInfo> {
  const info = await (await driverOf(formatName)).info(storage);
  return { ...info, path, fileBytes: storage.sizeBytes };
}

function formatOf(
  { path }: FileInfo,
  { formatName, name }: ImageReference,
  { backingFormatName }: InfoOptions,
): FormatName {
  const known = formatName ?? backingFormatName;
  if (known !== undefined) return known;
  const shown = JSON.stringify(name.slice(0, 80));
  const message = `"${path}" does not say of which format ${shown} is`;
  throw new TmemError('usage', `${message}; say it with --backing-format`);
}
