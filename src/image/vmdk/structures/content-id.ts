/**
 * The content identifier of an image. It changes with the first write after each opening, so that
 * images on top of it can tell that they are no longer on what they were made on.
 */

import { randomInt } from 'node:crypto';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { OpenOptions } from '../../format.ts';
import { NO_PARENT_CID } from './descriptor.ts';

/** Where the digits are in the file. */
export interface ContentIdPlace {
  readonly storage: ResizableStorage;
  readonly offset: number;
  readonly digits: number;
}

/** A new identifier that is no other's: of so many hexadecimal digits, and not `old`. */
export function newContentId(digits = 8, old = NO_PARENT_CID): number {
  for (;;) {
    const id = randomInt(16 ** (digits - 1), 16 ** digits);
    // The two largest numbers mean that there is no parent, or none yet.
    if (id !== old && id < NO_PARENT_CID - 1) return id;
  }
}

/** Writes a new identifier durably, once. */
export class ContentId {
  current: number;
  readonly #place: ContentIdPlace;
  readonly #onChange: OpenOptions['onContentChange'];
  #isChanged = false;
  #changing: Promise<void> | undefined;

  constructor(place: ContentIdPlace, current: number, onChange?: OpenOptions['onContentChange']) {
    this.#place = place;
    this.#onChange = onChange;
    this.current = current;
  }

  /** To be waited for before anything of the image changes; undefined once it is done. */
  change(): Promise<void> | undefined {
    if (this.#isChanged) return undefined;
    this.#changing ??= this.#write().finally(() => {
      this.#changing = undefined;
    });
    return this.#changing;
  }

  /** As many digits as there were: nothing moves, and a torn write is an identifier as well. */
  async #write(): Promise<void> {
    const { storage, offset, digits } = this.#place;
    const id = newContentId(digits, this.current);
    await this.#onChange?.(this.current, id);
    const text = Buffer.from(id.toString(16), 'latin1');
    await storage.write(text, 0, text.length, offset);
    await storage.sync();
    this.current = id;
    this.#isChanged = true;
  }
}
