/** Checking the tables of an image in files, and mending them. */

import type { CheckReport, FormatName } from '../image/format.ts';
import { driverOf, formatNameOf, warnOfContent } from '../image/formats.ts';
import { Gate } from '../image/gate.ts';
import { TmemError } from '../lib/errors.ts';
import { openFileStorage } from '../storage/file.ts';
import type { WorkOptions } from './progress.ts';

export interface CheckImageOptions extends WorkOptions {
  readonly formatName?: FormatName | undefined;
  /** `leaks` gives leaked space back; `all` mends what can be mended without losing data. */
  readonly repair?: 'leaks' | 'all' | undefined;
  /** Where files may be that the image names; see `OpenImageOptions`. */
  readonly allowBacking?: readonly string[] | undefined;
  /** Hears of what is not wrong, but may not be what was meant. */
  readonly warn?: ((message: string) => void) | undefined;
}

/**
 * Rejects where the format has nothing to check, with `hasTables: false` in the context of the error,
 * and with another TmemError where the image cannot even be looked at. Progress is of the format's own units.
 */
export async function checkImage(path: string, options: CheckImageOptions): Promise<CheckReport> {
  const {
    formatName = formatNameOf(path),
    repair,
    allowBacking = [],
    signal,
    onProgress,
  } = options;
  const driver = await driverOf(formatName);
  const isReadOnly = repair === undefined;
  const storage = await openFileStorage(path, { isReadOnly, isContainer: true });
  const gate = new Gate({ allowBacking });
  gate.admit(storage);
  try {
    if (options.formatName === undefined) await warnOfContent(storage, formatName, options);
    if (driver.check === undefined) {
      const cause = `${formatName} images have no tables that could be damaged`;
      throw new TmemError(
        'unsupported',
        `"${path}" cannot be checked: ${cause}; compare its content`,
        { context: { path, hasTables: false } },
      );
    }
    return await driver.check(storage, {
      repair,
      signal,
      openFile: async (reference) => {
        // A parent is only looked at: others may have it open for reading as well.
        const onlyReads = isReadOnly || reference.role === 'parent';
        return (await gate.open({ path, depth: 0 }, reference, onlyReads)).storage;
      },
      onProgress: onProgress && ((doneBytes, totalBytes) => onProgress({ doneBytes, totalBytes })),
    });
  } finally {
    await storage.close();
  }
}
