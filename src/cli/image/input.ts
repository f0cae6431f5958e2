/** Opening the images that a command line names, and closing them. */

import type { FormatName } from '../../image/format.ts';
import type { BlockImage } from '../../image/image.ts';
import { openImage } from '../../image/open.ts';
import { allowedBacking, parseFormat, passphraseOf } from './options.ts';
import type { ImageCall } from './verb.ts';

export interface InputWish {
  readonly isReadOnly?: boolean;
  readonly formatName?: FormatName | undefined;
  readonly snapshot?: string | undefined;
}

/** Opens an image as `INPUT_OPTIONS` say it. */
export function openInput(call: ImageCall, path: string, wish: InputWish = {}) {
  const { parsed, warn } = call;
  const passphrase = passphraseOf(call);
  const { isReadOnly = true } = wish;
  return openImage(path, {
    isReadOnly,
    takesAnySize: isReadOnly,
    formatName: wish.formatName ?? parseFormat(parsed),
    allowBacking: allowedBacking(call),
    backingFormatName: parseFormat(parsed, 'backing-format'),
    passphrase,
    backingPassphrase: passphrase,
    snapshot: wish.snapshot,
    warn,
  });
}

/** Does something with an image, and closes it. */
export async function withImage<Answer>(
  opening: Promise<BlockImage>,
  act: (image: BlockImage) => Promise<Answer>,
): Promise<Answer> {
  const image = await opening;
  let answer: Answer;
  try {
    answer = await act(image);
  } catch (cause) {
    // What failed first is to be heard of.
    await image.close().catch(() => undefined);
    throw cause;
  }
  await image.close();
  return answer;
}
