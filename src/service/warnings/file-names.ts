/**
 * Images that are deleted, renamed or replaced (`mv new disk.raw`) while they are served. The service
 * goes on with the file that it has open, and every write and FLUSH succeeds; but where that file has
 * no name any more, it ends with the service. So the log says it, while what is in it can be saved.
 */

import type { Export } from '../../export/export.ts';
import type { BlockImage } from '../../image/image.ts';
import { TmemError } from '../../lib/errors.ts';
import { inTime } from '../../lib/in-time.ts';
import type { RunningExport, ServiceLog } from '../settings.ts';

/** Between two looks, milliseconds. */
const LOOK_MS = 10_000;

type NamedFile = BlockImage['files'][number];

/** What is used of an export. */
type NamedExport = Pick<Export, 'name' | 'isReadOnly'> & {
  readonly image: Pick<BlockImage, 'files'>;
};

interface Watched {
  readonly exportName: string;
  readonly file: NamedFile;
  state: Awaited<ReturnType<NamedFile['nameState']>>;
  /** One look at a time: a file system that hangs is asked once. */
  looking: Promise<void> | undefined;
}

export class FileNames {
  readonly #watched: readonly Watched[];
  readonly #log: ServiceLog;
  #running: readonly Pick<RunningExport, 'name' | 'uris'>[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isStopping = false;

  /** Files that are only read are of no concern: what is in them is not changed. */
  constructor(exports: readonly NamedExport[], log: ServiceLog) {
    this.#watched = exports
      .filter(({ isReadOnly }) => !isReadOnly)
      .flatMap(({ name: exportName, image }) =>
        image.files.map(
          (file): Watched => ({ exportName, file, state: 'kept', looking: undefined }),
        ),
      );
    this.#log = log;
  }

  /** Looks now and then; `running` is where clients find the exports. */
  start(running: readonly Pick<RunningExport, 'name' | 'uris'>[]): void {
    this.#running = running;
    if (this.#watched.length === 0) return;
    this.#timer = setInterval(() => {
      for (const each of this.#watched) void this.#look(each);
    }, LOOK_MS).unref();
  }

  /**
   * Looks a last time, for at most `ms`, before the files are closed. Rejects with a TmemError that
   * names those which end with that.
   */
  async stop(ms: number): Promise<void> {
    clearInterval(this.#timer);
    this.#isStopping = true;
    const looks = this.#watched.map(async (each) => {
      await each.looking;
      await this.#look(each);
    });
    await inTime(Promise.all(looks), ms, 'a look at the files').catch(() => undefined); // closing them tells
    const lost: string[] = [];
    for (const { exportName, file, state } of this.#watched) {
      if (state === 'moved') this.#log.warn(movedSentence(exportName, file));
      if (state !== 'lost') continue;
      lost.push(`what was written to export "${exportName}" is lost: ${deleted(file)}`);
    }
    if (lost.length > 0) throw new TmemError('io', lost.join('; '));
  }

  #look(watched: Watched): Promise<void> {
    watched.looking ??= this.#compare(watched).finally(() => {
      watched.looking = undefined;
    });
    return watched.looking;
  }

  async #compare(watched: Watched): Promise<void> {
    const { file, state: before } = watched;
    const state = await file.nameState().catch(() => before);
    watched.state = state;
    if (state !== before && !this.#isStopping) this.#tell(watched);
  }

  #tell({ exportName, file, state }: Watched): void {
    if (state === 'moved') this.#log.warn(movedSentence(exportName, file));
    if (state !== 'lost') return;
    const uri = this.#running.find(({ name }) => name === exportName)?.uris[0] ?? 'URI';
    this.#log.warn(
      `what is written to export "${exportName}" now has no name, and is lost when the service ends: ` +
        `${deleted(file)}; save it while the service runs: nbdcopy "${uri}" new.raw`,
    );
  }
}

function deleted({ name }: NamedFile): string {
  return `"${name}" was deleted or replaced while it was served`;
}

function movedSentence(exportName: string, { name }: NamedFile): string {
  return (
    `what is written to export "${exportName}" goes to the file that was opened as "${name}", but the ` +
    'path does not lead to it any more; move it back, or start the service anew with what is there'
  );
}
