/**
 * The one way to a file that an image names. Whoever can write an image can have it name any file:
 * so only regular files in the directory of the image, or where the operator allows, are opened,
 * never through a link that the image names, and never twice in one chain.
 */

import { lstat, realpath } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { kindOfSystemError, systemErrorCode, TmemError } from '../lib/errors.ts';
import { type FileStorage, openFileStorage } from '../storage/file.ts';
import type { ImageReference } from './format.ts';

/** Images below the one on top. */
export const CHAIN_DEPTH_MAX = 10;

const NAME_BYTES_MAX = 1023;
const IS_PROTOCOL =
  'which is a protocol and no file; make a file of it, and name that in the image';
/** Characters of a name that a message shows. */
const SHOWN_CHARACTERS_MAX = 80;
/** Of the system, whatever the operator allows. */
const SYSTEM_DIRECTORIES = ['/proc', '/dev', '/sys'];

export interface GateOptions {
  /** Directories besides the image's own in which files may be opened, and below which. */
  readonly allowBacking: readonly string[];
  readonly wantsDirect?: boolean | undefined;
}

/** An image that names others. */
export interface Referrer {
  readonly path: string;
  /** 0 for the image on top. */
  readonly depth: number;
}

/** A file that the gate has let through. */
export interface AdmittedFile {
  readonly storage: FileStorage;
  /** Where it really is. */
  readonly path: string;
  /** When it was last written to, ms since 1970. */
  readonly changedAtMs: number;
}

/** Where a name leads, and what is there. */
interface Place {
  readonly path: string;
  readonly medium: string;
  readonly changedAtMs: number;
}

/** Looks after one chain of images: it remembers what of it is open. */
export class Gate {
  readonly #options: GateOptions;
  /** By medium: how messages call it. */
  readonly #open = new Map<string, string>();

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** Takes note of a file that the operator named. */
  admit({ medium, name }: FileStorage): void {
    this.#open.set(medium, name);
  }

  /**
   * Opens a file that the image names, `isReadOnly` or not. Rejects with a TmemError that names the
   * image, the name, and what to do.
   */
  async open(
    referrer: Referrer,
    reference: ImageReference,
    isReadOnly: boolean,
  ): Promise<AdmittedFile> {
    const refuse = (problem: string, kind: 'permission' | 'invalid' = 'permission') =>
      refusal(referrer, reference, problem, kind);
    const isBelow = reference.role === 'backing file' || reference.role === 'parent';
    if (isBelow && referrer.depth >= CHAIN_DEPTH_MAX) {
      const advice = 'commit or convert the images at the bottom';
      throw refuse(
        `which makes more than ${CHAIN_DEPTH_MAX} images in a row; ${advice}`,
        'invalid',
      );
    }
    const problem = problemOfName(reference.name);
    if (problem !== undefined) throw refuse(problem);
    const place = await this.#find(referrer, reference, refuse);
    if (this.#open.has(place.medium)) {
      const advice = 'change the name in the image';
      const what = isBelow ? 'so that the chain is a loop' : 'and is opened twice';
      throw refuse(`which the chain has already, ${what}; ${advice}`, 'invalid');
    }
    const storage = await this.#openPlace(place, referrer, reference, isReadOnly);
    this.#open.set(place.medium, place.path);
    return { storage, path: place.path, changedAtMs: place.changedAtMs };
  }

  /**
   * Why `open` would not find, or not open, what an image names that is or will be at `path`; undefined
   * where it would open it.
   */
  async refusalOf(path: string, reference: ImageReference): Promise<TmemError | undefined> {
    const referrer = { path, depth: 0 };
    const refuse = (problem: string) => refusal(referrer, reference, problem, 'permission');
    const home = realpath(path).then(dirname, () => realpath(dirname(path)));
    try {
      await this.#find(referrer, reference, refuse, home);
      return undefined;
    } catch (cause) {
      if (cause instanceof TmemError) return cause;
      throw cause;
    }
  }

  async #find(
    referrer: Referrer,
    reference: ImageReference,
    refuse: (problem: string) => TmemError,
    homeFound = realpath(referrer.path).then(dirname),
  ): Promise<Place> {
    try {
      const home = await homeFound;
      const { path, missing } = await placeOf(resolve(home, reference.name));
      // Nothing is told of files elsewhere: not even whether they or their directories are there.
      const roots = [home, ...(await realPaths(this.#options.allowBacking))];
      const system = SYSTEM_DIRECTORIES.find((directory) => isInside(path, directory));
      if (system !== undefined) {
        throw refuse(`which is in ${system}, where no image may be; copy it to another place`);
      }
      if (!roots.some((root) => isInside(path, root))) {
        throw refuse(`which is elsewhere; allow it with --allow-backing ${quoted(dirname(path))}`);
      }
      if (missing !== undefined) throw missing;
      const stats = await lstat(path, { bigint: true });
      if (stats.isSymbolicLink()) {
        throw refuse('which is a symbolic link; name the file itself in the image');
      }
      if (!stats.isFile()) throw refuse('which is no regular file; name a file in the image');
      const changedAtMs = Number(stats.mtimeNs / 1_000_000n);
      return { path, medium: `file:${stats.dev}:${stats.ino}`, changedAtMs };
    } catch (cause) {
      throw inContext(referrer, reference, cause);
    }
  }

  async #openPlace(
    { path, medium }: Place,
    referrer: Referrer,
    reference: ImageReference,
    isReadOnly: boolean,
  ): Promise<FileStorage> {
    let storage: FileStorage;
    try {
      const { wantsDirect } = this.#options;
      storage = await openFileStorage(path, { isReadOnly, wantsDirect, isContainer: true });
    } catch (cause) {
      throw inContext(referrer, reference, cause);
    }
    try {
      if (storage.medium !== medium) {
        throw refusal(referrer, reference, 'which was replaced just now; try again', 'permission');
      }
      if (storage.isOpenHere) throw openHere(path);
      return storage;
    } catch (cause) {
      await storage.close();
      throw cause;
    }
  }
}

/** The refusal of a file that this process has open, when one of the two uses would write. */
export function openHere(path: string): TmemError {
  const advice = 'close that first, or open both for reading only';
  const problem = 'this process has it open already, and would change it';
  return new TmemError('busy', `cannot open "${path}": ${problem}; ${advice}`, {
    context: { path },
  });
}

/** Throws `usage` for a name by which nothing is ever opened: no image that is made may have it. */
export function checkMayBeNamed(name: string): void {
  const problem = problemOfName(name);
  if (problem === undefined) return;
  const sentence =
    problem === IS_PROTOCOL
      ? 'which would be a protocol; take a name without a colon, or write ./ in front of it'
      : problem;
  throw new TmemError('usage', `no image can name ${quoted(name)}, ${sentence}`);
}

/** What is wrong with a name, wherever it leads. */
function problemOfName(name: string): string | undefined {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0) return 'which is empty; name a file in the image';
  if (bytes > NAME_BYTES_MAX) {
    return `of ${bytes} bytes, of which there may be ${NAME_BYTES_MAX}; give the file a shorter name`;
  }
  if (name.includes('\0')) return 'which has a NUL in it; name a file in the image';
  const colon = name.indexOf(':');
  const slash = name.indexOf('/');
  if (colon < 0 || (slash >= 0 && slash < colon)) return undefined;
  return IS_PROTOCOL;
}

function refusal(
  { path }: Referrer,
  { role, name }: ImageReference,
  problem: string,
  kind: 'permission' | 'invalid',
): TmemError {
  const message = `"${path}" names the ${role} ${quoted(name)}, ${problem}`;
  return new TmemError(kind, message, { context: { path, role, name: shortened(name) } });
}

/** Says of a failure which image led to it. */
function inContext({ path }: Referrer, { role, name }: ImageReference, cause: unknown): TmemError {
  if (cause instanceof TmemError && cause.context.role === role) return cause;
  const code = systemErrorCode(cause);
  const reason =
    cause instanceof TmemError
      ? cause.message
      : code === 'ENOENT' || code === 'ENOTDIR'
        ? 'there is no such file; bring it back, or change the name in the image'
        : `the system answered ${code ?? String(cause)}; check the disk that it is on`;
  const message = `"${path}" needs the ${role} ${quoted(name)}: ${reason}`;
  const context = { path, role, name: shortened(name) };
  return new TmemError(kindOfSystemError(cause), message, { context, cause });
}

/** With everything that a terminal could take for more than text escaped, and cut. */
function quoted(name: string): string {
  const text = JSON.stringify(shortened(name));
  return text.replace(/[^\x20-\x7e]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

function shortened(name: string): string {
  const isLong = name.length > SHOWN_CHARACTERS_MAX;
  return isLong ? `${name.slice(0, SHOWN_CHARACTERS_MAX)}...` : name;
}

/** What a path leads to. */
interface RealPlace {
  /** With the links of its directories followed; where one is `missing`, as far as there are any. */
  readonly path: string;
  /** Why a directory cannot be entered; undefined when all can. */
  readonly missing: unknown;
}

async function placeOf(named: string): Promise<RealPlace> {
  let missing: unknown;
  for (let directory = dirname(named); ; directory = dirname(directory)) {
    try {
      return { path: join(await realpath(directory), relative(directory, named)), missing };
    } catch (cause) {
      missing ??= cause;
      if (directory === dirname(directory)) throw cause;
    }
  }
}

/** Those that are there. */
async function realPaths(directories: readonly string[]): Promise<string[]> {
  const paths = await Promise.allSettled(directories.map((directory) => realpath(directory)));
  return paths.flatMap((path) => (path.status === 'fulfilled' ? path.value : []));
}

function isInside(path: string, directory: string): boolean {
  return path.startsWith(directory.endsWith(sep) ? directory : directory + sep);
}
