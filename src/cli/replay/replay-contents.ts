/** What `--contents` says that pages hold. */

import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { kindOfSystemError, readAdvice, TmemError } from '../../lib/errors.ts';
import {
  evenContent,
  FileContents,
  type PageContents,
  SynthesisedContents,
} from '../../replay/engine/page-contents.ts';
import type { PageStream } from '../../replay/engine/page-stream.ts';
import { type CliContext, fullPath } from '../command/context.ts';

const RATIO_MAX = 1000;

/** Makes contents for a stream; `close` is called when they are not needed any more. */
export interface ContentsSource {
  readonly contentsOf: ((stream: PageStream) => PageContents) | undefined;
  close(): void;
}

/** Reads `text`, of `--contents`; opens an image. Throws a usage error for one that is not there. */
export function openContents(text: string, seed: number, context: CliContext): ContentsSource {
  if (text === 'mixed') return { contentsOf: undefined, close: () => {} };
  if (/^\d{1,6}(?:\.\d{1,6})?$/.test(text)) {
    const ratio = Number(text);
    if (ratio < 1 || ratio > RATIO_MAX) {
      throw new TmemError(
        'usage',
        `--contents: a ratio of ${text} is out of range; give 1 to ${RATIO_MAX}`,
      );
    }
    const model = evenContent(1 / ratio);
    return {
      contentsOf: (stream) => new SynthesisedContents(stream, stream.pageBytes, model, seed),
      close: () => {},
    };
  }
  const path = fullPath(text, context);
  const fd = openImage(path);
  return {
    contentsOf: (stream) => new FileContents(stream, fd, text),
    close: () => closeSync(fd),
  };
}

function openImage(path: string): number {
  const fd = openToRead(path);
  const stat = fstatSync(fd);
  if (stat.isFile() || stat.isBlockDevice()) return fd;
  closeSync(fd);
  const sentence = `--contents: ${path} is neither a file nor a block device`;
  throw new TmemError('usage', `${sentence}; name a raw image, or give a ratio, or mixed`);
}

function openToRead(path: string): number {
  try {
    // Without it a pipe would be waited for, and no signal heard meanwhile.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new TmemError(
      kindOfSystemError(cause),
      `--contents: cannot read ${path}: ${readAdvice(cause)}, or give a ratio, or mixed`,
      { cause },
    );
  }
}
