/**
 * A strict reader of replies: whatever a server may not send, it throws for (NBD specification,
 * "Transmission", "Structured reply types").
 */

import { Chunk, ChunkFlag, Command, CommandFlag, Magic } from '../../src/nbd/protocol.ts';

/** What the client knows of a request that it sent. */
export interface Asked {
  readonly command: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
}

/** The answer to one request. */
export interface Answer {
  readonly cookie: bigint;
  readonly errno: number;
  /** Of a READ that succeeded. */
  readonly data: Buffer | undefined;
  /** Of a BLOCK_STATUS that succeeded, by context id. */
  readonly extents: ReadonlyMap<number, readonly { length: number; state: number }[]>;
  /** Types of its chunks, in order; empty for a simple reply. */
  readonly chunks: readonly number[];
}

/** A reply of which some chunks have come. */
interface Partial {
  readonly asked: Asked;
  errno: number;
  data: Buffer;
  readonly covered: { from: number; to: number }[];
  readonly extents: Map<number, { length: number; state: number }[]>;
  readonly chunks: number[];
}

const ERRNOS = new Set([1, 5, 12, 22, 28, 75, 95, 108]);

export interface ParserOptions {
  readonly isStructured: boolean;
  readonly contextIds?: readonly number[];
}

export class ReplyParser {
  readonly answers: Answer[] = [];
  readonly #options: ParserOptions;
  readonly #asked: (cookie: bigint) => Asked | undefined;
  readonly #partial = new Map<bigint, Partial>();
  readonly #done = new Set<bigint>();
  #bytes = Buffer.alloc(0);
  #at = 0;
  /** Bytes that the message at hand needs, and what came since there were too few. */
  #wantedBytes = 0;
  #early: Buffer[] = [];
  #earlyBytes = 0;

  constructor(options: ParserOptions, asked: (cookie: bigint) => Asked | undefined) {
    this.#options = options;
    this.#asked = asked;
  }

  /** Whether everything so far were whole replies. */
  get isWhole(): boolean {
    return this.#bytes.length === 0 && this.#early.length === 0 && this.#partial.size === 0;
  }

  feed(bytes: Buffer): void {
    this.#early.push(bytes);
    this.#earlyBytes += bytes.length;
    if (this.#bytes.length + this.#earlyBytes < this.#wantedBytes) return;
    this.#bytes = Buffer.concat([this.#bytes, ...this.#early]);
    this.#early = [];
    this.#earlyBytes = 0;
    while (this.#parseOne()) this.#bytes = this.#bytes.subarray(this.#at);
  }

  /** Takes one message; no when it is not all there, and then nothing of it is taken. */
  #parseOne(): boolean {
    this.#at = 0;
    if (!this.#has(16)) return false;
    const magic = this.#u32();
    if (magic === Magic.SIMPLE_REPLY) return this.#parseSimple();
    if (magic !== Magic.STRUCTURED_REPLY) throw new Error(`no reply: ${magic.toString(16)}`);
    must(this.#options.isStructured, 'a chunk without structured replies');
    return this.#parseChunk();
  }

  #parseSimple(): boolean {
    const errno = this.#u32();
    const cookie = this.#u64();
    const asked = this.#requestOf(cookie);
    const { isStructured } = this.#options;
    must(!isStructured || asked.command !== Command.READ, 'a simple reply to READ');
    const isStatus = asked.command === Command.BLOCK_STATUS;
    must(!isStatus || (!isStructured && errno !== 0), 'a simple reply to BLOCK_STATUS');
    must(!this.#partial.has(cookie), 'a simple reply behind chunks');
    must(errno === 0 || ERRNOS.has(errno), `error number ${errno}`);
    const hasData = asked.command === Command.READ && errno === 0;
    const length = hasData ? asked.length : 0;
    if (!this.#has(this.#at + length)) return false;
    const data = hasData ? this.#take(length) : undefined;
    this.#end({ cookie, errno, data, extents: new Map(), chunks: [] });
    return true;
  }

  #parseChunk(): boolean {
    if (!this.#has(20)) return false;
    const flags = this.#u16();
    const type = this.#u16();
    const cookie = this.#u64();
    const length = this.#u32();
    const asked = this.#requestOf(cookie);
    must(length <= asked.length + 64 * 1024, `a chunk of ${length} bytes`);
    must((flags & ~ChunkFlag.DONE) === 0, `chunk flags ${flags}`);
    if (!this.#has(this.#at + length)) return false;
    const end = this.#at + length;
    const partial = this.#partialOf(cookie, asked);
    partial.chunks.push(type);
    this.#parsePayload(partial, type, length, (flags & ChunkFlag.DONE) !== 0);
    must(this.#at === end, `chunk type ${type} with ${length} bytes`);
    if ((flags & ChunkFlag.DONE) !== 0) this.#finish(cookie, partial);
    return true;
  }

  #parsePayload(partial: Partial, type: number, length: number, isDone: boolean): void {
    const { command } = partial.asked;
    if (type === Chunk.NONE) {
      must(isDone && length === 0, 'a NONE chunk that is not the end, or not empty');
    } else if (type === Chunk.OFFSET_DATA) {
      must(command === Command.READ && length > 8, 'an empty or uncalled-for DATA chunk');
      const offset = Number(this.#u64());
      this.#content(partial, offset, this.#take(length - 8));
    } else if (type === Chunk.OFFSET_HOLE) {
      must(command === Command.READ && length === 12, 'a HOLE chunk of wrong length or place');
      const offset = Number(this.#u64());
      const bytes = this.#u32();
      must(bytes > 0 && bytes <= partial.asked.length, 'a hole of no or too many bytes');
      this.#content(partial, offset, Buffer.alloc(bytes));
    } else if (type === Chunk.BLOCK_STATUS) this.#status(partial, length);
    else if (type === Chunk.ERROR) {
      must(length >= 6, 'a short ERROR chunk');
      const errno = this.#u32();
      must(ERRNOS.has(errno), `error number ${errno}`);
      const textBytes = this.#u16();
      must(textBytes === length - 6 && textBytes <= 4096, 'an error text of wrong length');
      this.#take(textBytes);
      partial.errno ||= errno;
    } else throw new Error(`chunk type ${type}`);
  }

  #content(partial: Partial, offset: number, data: Buffer): void {
    const { asked, covered } = partial;
    const from = offset - asked.offset;
    const to = from + data.length;
    must(from >= 0 && to <= asked.length, 'content outside of the request');
    must(
      covered.every((each) => to <= each.from || from >= each.to),
      'content twice',
    );
    must(covered.length === 0 || (asked.flags & CommandFlag.DF) === 0, 'a fragment despite DF');
    covered.push({ from, to });
    data.copy(partial.data, from);
  }

  #status(partial: Partial, length: number): void {
    const { asked, extents } = partial;
    must(asked.command === Command.BLOCK_STATUS, 'a status chunk that was not asked for');
    must(length >= 12 && (length - 4) % 8 === 0, 'a status chunk without whole extents');
    const id = this.#u32();
    must(this.#options.contextIds?.includes(id) === true && !extents.has(id), `context ${id}`);
    const list = [];
    for (let i = 0; i < (length - 4) / 8; i++) {
      list.push({ length: this.#u32(), state: this.#u32() });
    }
    must(
      list.every((each) => each.length > 0),
      'an empty extent',
    );
    const sum = list.slice(0, -1).reduce((total, each) => total + each.length, 0);
    must(sum < asked.length, 'extents go on behind the end of the request');
    if ((asked.flags & CommandFlag.REQ_ONE) !== 0) {
      must(list.length === 1 && (list[0]?.length ?? 0) <= asked.length, 'more than one extent');
    }
    extents.set(id, list);
  }

  #finish(cookie: bigint, partial: Partial): void {
    const { asked, errno, covered, extents, chunks } = partial;
    this.#partial.delete(cookie);
    const isRead = asked.command === Command.READ;
    if (errno === 0 && isRead) {
      const bytes = covered.reduce((sum, { from, to }) => sum + to - from, 0);
      must(bytes === asked.length, 'a read that is not covered');
    }
    if (errno === 0 && asked.command === Command.BLOCK_STATUS) {
      must(extents.size === this.#options.contextIds?.length, 'a context without status');
    }
    const data = errno === 0 && isRead ? partial.data : undefined;
    this.#end({ cookie, errno, data, extents, chunks });
  }

  #end(answer: Answer): void {
    this.#done.add(answer.cookie);
    this.answers.push(answer);
  }

  #requestOf(cookie: bigint): Asked {
    const asked = this.#asked(cookie);
    if (asked === undefined) throw new Error(`a reply to nothing: ${cookie}`);
    must(!this.#done.has(cookie), `a second reply to ${cookie}`);
    return asked;
  }

  #partialOf(cookie: bigint, asked: Asked): Partial {
    let partial = this.#partial.get(cookie);
    if (partial === undefined) {
      const data = Buffer.alloc(asked.command === Command.READ ? asked.length : 0);
      partial = { asked, errno: 0, data, covered: [], extents: new Map(), chunks: [] };
      this.#partial.set(cookie, partial);
    }
    return partial;
  }

  #has(bytes: number): boolean {
    this.#wantedBytes = bytes;
    return this.#bytes.length >= bytes;
  }

  #take(length: number): Buffer {
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #u16(): number {
    return this.#take(2).readUInt16BE(0);
  }

  #u32(): number {
    return this.#take(4).readUInt32BE(0);
  }

  #u64(): bigint {
    return this.#take(8).readBigUInt64BE(0);
  }
}

function must(isTrue: boolean, what: string): void {
  if (!isTrue) throw new Error(`the server broke a rule: ${what}`);
}
