/** Writing all of something, where a system writes as much as it likes. */

/** What a file handle of `node:fs/promises` can do. */
export interface PartWriter {
  write(
    bytes: Uint8Array,
    start: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesWritten: number }>;
}

/**
 * Writes all of `bytes`, which must not change meanwhile, at `position` of the file. A full disk
 * first shows as a short write; the next one then says why. Throws where nothing is written.
 */
export async function writeWhole(
  file: PartWriter,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    if (bytesWritten === 0) throw new Error('nothing was written');
    done += bytesWritten;
  }
}
