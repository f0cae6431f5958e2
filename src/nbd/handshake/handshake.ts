/**
 * The server's side of the fixed newstyle handshake, without TLS (NBD specification, "Handshake").
 * A synchronous state machine: bytes of a client go in, replies come out. It knows no socket and no
 * clock; whoever owns those gives a handshake some seconds and then drops it.
 *
 * Two choices where the specification leaves room:
 * - A client that sends its next option before the reply to the last one breaks a rule, and may be
 *   disconnected for it. It is answered in order instead: whether two options arrive in one piece
 *   says little about when they were sent, and behaviour must not depend on how TCP cuts a stream.
 *   Without TLS nothing can be smuggled that way, and the number of options is bounded.
 * - Bytes behind the option that ends the handshake (EXPORT_NAME, or a GO that succeeds) are the
 *   first requests of the transmission phase, and are handed on. Behind a GO that fails they are
 *   taken for an option, whose magic they lack: the client is disconnected, nothing is executed.
 */

import { listContexts, type MetaContext, selectContexts } from '../meta-contexts.ts';
import {
  HandshakeFlag,
  Info,
  LIST_REPLY_BYTES_MAX,
  META_QUERY_COUNT_MAX,
  OPTION_DATA_BYTES_MAX,
  Option,
  OptionReply,
  PAYLOAD_BYTES_DEFAULT,
  TransmissionFlag,
} from '../protocol.ts';
import { parseInfoRequest, parseMetaRequest, parseString } from './option-data.ts';
import { OptionReader, type ReceivedOption, takesData } from './option-reader.ts';
import {
  encodeExportNameReply,
  encodeGreeting,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoText,
  encodeMetaContext,
  encodeReply,
  encodeServer,
} from './option-replies.ts';

/** What the handshake tells of an export. Strings are at most STRING_BYTES_MAX bytes, without NUL. */
export interface HandshakeExport {
  /** The name of its own, also where it was found as the default export. */
  readonly name: string;
  readonly description?: string;
  readonly sizeBytes: number;
  /** What it can do with structured replies; HAS_FLAGS is added and SEND_DF removed as needed. */
  readonly transmissionFlags: number;
  /** A power of two, at most 64 KiB. */
  readonly minimumBlockBytes: number;
  /** A power of two, at least the minimum and 512. */
  readonly preferredBlockBytes: number;
  /** The longest payload of one request, at least the preferred size. */
  readonly maximumBlockBytes: number;
}

/** The exports as the handshake sees them. */
export interface OptionDirectory {
  /** Names in the order in which LIST shows them. */
  names(): readonly string[];
  /** The export of that name, or undefined; the empty name is the default export. */
  find(name: string): HandshakeExport | undefined;
}

/** What was agreed on, valid for the transmission phase that follows. */
export interface HandshakeResult {
  /** The export's own name, also where the client asked for the default export. */
  readonly exportName: string;
  /** READ must be answered by structured replies only. */
  readonly isStructured: boolean;
  /** Selected for this export; empty means that BLOCK_STATUS is not allowed. */
  readonly metaContexts: readonly MetaContext[];
  /** As sent to the client: what is not in here must be refused. */
  readonly transmissionFlags: number;
}

/** Why a handshake ended without a transmission phase. */
export interface HandshakeClose {
  /** One line for a log: printable ASCII of bounded length. */
  readonly reason: string;
  /** False for a client that said goodbye, or wanted an export that it cannot have. */
  readonly isViolation: boolean;
}

/** Characters of a client's text that a log line may show. */
const LOGGED_NAME_LENGTH = 64;

const KNOWN_CLIENT_FLAGS = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES;

/** One client's handshake. Each reply is one call of `send`, which then owns the buffer. */
export class Handshake {
  readonly #directory: OptionDirectory;
  readonly #send: (reply: Buffer) => void;

  #state: 'options' | 'transmission' | 'closed' = 'options';
  #result: HandshakeResult | undefined;
  #close: HandshakeClose | undefined;
  #leftover: Buffer = Buffer.alloc(0);

  readonly #reader = new OptionReader();
  #option = 0;
  #listedBytes = 0;

  #isFixed = false;
  #isPadded = true;
  #isStructured = false;
  #metaContexts: readonly MetaContext[] = [];
  /** The name as the client wrote it; its contexts hold for no other. */
  #metaExportName: string | undefined;

  constructor(directory: OptionDirectory, send: (reply: Buffer) => void) {
    this.#directory = directory;
    this.#send = send;
  }

  /** `options` while bytes are wanted; the other two are final. */
  get state(): 'options' | 'transmission' | 'closed' {
    return this.#state;
  }

  /** What was agreed on, once the state is `transmission`. */
  get result(): HandshakeResult | undefined {
    return this.#result;
  }

  /** Why there will be no transmission, once the state is `closed`. */
  get closed(): HandshakeClose | undefined {
    return this.#close;
  }

  /**
   * The requests that came behind the last option: a view of the last chunk that was fed, so it is
   * valid as long as that is.
   */
  get leftover(): Buffer {
    return this.#leftover;
  }

  /** What the server says first. */
  greeting(): Buffer {
    return encodeGreeting();
  }

  /**
   * Takes bytes as they come, in pieces of any size; nothing of the chunk is kept but `leftover`.
   * Bytes after the end of a closed handshake are ignored. Throws after the handshake succeeded,
   * since from there on the bytes belong to the transmission phase.
   */
  feed(chunk: Buffer): void {
    if (this.#state === 'transmission') throw new Error('Handshake: fed after it succeeded');
    let offset = 0;
    while (this.#state === 'options') {
      offset = this.#reader.read(chunk, offset);
      const message = this.#reader.message;
      if (message === undefined) return;
      if (message.kind === 'option') this.#answer(message);
      else if (message.kind === 'flags') this.#agree(message.flags);
      else this.#violate(message.reason);
    }
    if (this.#result !== undefined) this.#leftover = chunk.subarray(offset);
  }

  #agree(flags: number): void {
    if ((flags & ~KNOWN_CLIENT_FLAGS) !== 0) {
      this.#violate(`client flags 0x${flags.toString(16)} hold bits that were not offered`);
      return;
    }
    this.#isFixed = (flags & HandshakeFlag.FIXED_NEWSTYLE) !== 0;
    this.#isPadded = (flags & HandshakeFlag.NO_ZEROES) === 0;
  }

  #answer({ option, length, data }: ReceivedOption): void {
    this.#option = option;
    if (option === Option.EXPORT_NAME) this.#enterByName(data);
    else if (!this.#isFixed) {
      this.#fail(OptionReply.ERR_INVALID, 'options need fixed newstyle, which was not agreed on');
    } else if (option === Option.ABORT) {
      this.#reply([encodeReply(option, OptionReply.ACK)]);
      this.#end({ reason: 'the client aborted the handshake', isViolation: false });
    } else if (takesData(option)) this.#answerWithData(option, data);
    else this.#answerWithoutData(option, length);
  }

  #answerWithoutData(option: number, length: number): void {
    const isKnown =
      option === Option.STARTTLS || option === Option.LIST || option === Option.STRUCTURED_REPLY;
    if (!isKnown) {
      this.#fail(OptionReply.ERR_UNSUP, 'this option is not known here');
    } else if (length > 0) {
      this.#fail(OptionReply.ERR_INVALID, 'this option takes no data');
    } else if (option === Option.STARTTLS) {
      this.#fail(OptionReply.ERR_UNSUP, 'TLS is not supported');
    } else if (option === Option.LIST) {
      this.#list();
    } else {
      this.#isStructured = true;
      this.#reply([encodeReply(option, OptionReply.ACK)]);
    }
  }

  #answerWithData(option: number, data: Buffer | undefined): void {
    // A SET_META_CONTEXT that fails in any way still drops what was selected before it.
    if (option === Option.SET_META_CONTEXT) this.#setContexts([], undefined);
    if (data === undefined) {
      this.#fail(
        OptionReply.ERR_TOO_BIG,
        `option data is limited to ${OPTION_DATA_BYTES_MAX} bytes`,
      );
    } else if (option === Option.INFO || option === Option.GO) this.#inform(option, data);
    else this.#negotiateContexts(option, data);
  }

  /** EXPORT_NAME has no way to report an error but to disconnect. */
  #enterByName(data: Buffer | undefined): void {
    const name = data === undefined ? undefined : parseString(data);
    if (name === undefined) {
      this.#violate('EXPORT_NAME with a name that is not UTF-8 text');
      return;
    }
    const found = this.#directory.find(name);
    if (found === undefined) {
      this.#end({ reason: `export ${printable(name)} is not served here`, isViolation: false });
      return;
    }
    const flags = this.#flagsOf(found);
    this.#enter(found, name, encodeExportNameReply(found.sizeBytes, flags, this.#isPadded));
  }

  #list(): void {
    const replies: Buffer[] = [];
    let replyBytes = 0;
    for (const name of this.#directory.names()) {
      const description = this.#directory.find(name)?.description ?? '';
      const reply = encodeServer(Option.LIST, name, description);
      replies.push(reply);
      replyBytes += reply.length;
    }
    if (this.#listedBytes + replyBytes > LIST_REPLY_BYTES_MAX) {
      this.#fail(OptionReply.ERR_TOO_BIG, 'the list of exports is too long, ask for one by name');
      return;
    }
    this.#listedBytes += replyBytes;
    replies.push(encodeReply(Option.LIST, OptionReply.ACK));
    this.#reply(replies);
  }

  #inform(option: number, data: Buffer): void {
    const request = parseInfoRequest(data);
    if (request === undefined) {
      this.#fail(OptionReply.ERR_INVALID, 'malformed export name or list of information requests');
      return;
    }
    const found = this.#directory.find(request.exportName);
    if (found === undefined) {
      this.#fail(OptionReply.ERR_UNKNOWN, 'no export of that name is served here');
      return;
    }
    const asked = request.infoTypes;
    const replies = [encodeInfoExport(option, found.sizeBytes, this.#flagsOf(found))];
    if (asked.has(Info.NAME)) replies.push(encodeInfoText(option, Info.NAME, found.name));
    if (asked.has(Info.DESCRIPTION) && found.description !== undefined) {
      replies.push(encodeInfoText(option, Info.DESCRIPTION, found.description));
    }
    // Tighter sizes than a client may assume must be told even to one that did not ask.
    if (asked.has(Info.BLOCK_SIZE) || isTighterThanDefault(found)) {
      const { minimumBlockBytes, preferredBlockBytes, maximumBlockBytes } = found;
      replies.push(
        encodeInfoBlockSize(option, minimumBlockBytes, preferredBlockBytes, maximumBlockBytes),
      );
    }
    replies.push(encodeReply(option, OptionReply.ACK));
    if (option === Option.GO) this.#enter(found, request.exportName, Buffer.concat(replies));
    else this.#reply(replies);
  }

  #negotiateContexts(option: number, data: Buffer): void {
    const isSet = option === Option.SET_META_CONTEXT;
    const request = parseMetaRequest(data);
    if (request === undefined) {
      this.#fail(OptionReply.ERR_INVALID, 'malformed export name or list of queries');
    } else if (isSet && !this.#isStructured) {
      this.#fail(OptionReply.ERR_INVALID, 'metadata contexts need structured replies first');
    } else if (this.#directory.find(request.exportName) === undefined) {
      this.#fail(OptionReply.ERR_UNKNOWN, 'no export of that name is served here');
    } else if (request.queryCount > META_QUERY_COUNT_MAX) {
      this.#fail(OptionReply.ERR_TOO_BIG, `queries are limited to ${META_QUERY_COUNT_MAX}`);
    } else {
      const contexts = isSet ? selectContexts(request.queries) : listContexts(request.queries);
      if (isSet) this.#setContexts(contexts, request.exportName);
      // The id is reserved, and zero, where contexts are only listed.
      const replies = contexts.map(({ id, name }) =>
        encodeMetaContext(option, isSet ? id : 0, name),
      );
      replies.push(encodeReply(option, OptionReply.ACK));
      this.#reply(replies);
    }
  }

  #setContexts(contexts: readonly MetaContext[], exportName: string | undefined): void {
    this.#metaContexts = contexts;
    this.#metaExportName = exportName;
  }

  #flagsOf(found: HandshakeExport): number {
    const flags = found.transmissionFlags | TransmissionFlag.HAS_FLAGS;
    return this.#isStructured ? flags : flags & ~TransmissionFlag.SEND_DF;
  }

  #enter(found: HandshakeExport, requestedName: string, reply: Buffer): void {
    this.#result = {
      exportName: found.name,
      isStructured: this.#isStructured,
      metaContexts: this.#metaExportName === requestedName ? this.#metaContexts : [],
      transmissionFlags: this.#flagsOf(found),
    };
    this.#state = 'transmission';
    this.#send(reply);
  }

  /** All replies to one option leave together. */
  #reply(replies: readonly Buffer[]): void {
    this.#send(Buffer.concat(replies));
  }

  #fail(type: number, text: string): void {
    this.#send(encodeReply(this.#option, type, Buffer.from(text)));
  }

  #violate(reason: string): void {
    this.#end({ reason, isViolation: true });
  }

  #end(close: HandshakeClose): void {
    this.#close = close;
    this.#state = 'closed';
  }
}

function isTighterThanDefault(found: HandshakeExport): boolean {
  return found.minimumBlockBytes > 1 || found.maximumBlockBytes < PAYLOAD_BYTES_DEFAULT;
}

/** A client's text as a log may show it: short, and without anything a terminal would act upon. */
function printable(text: string): string {
  const shown = text.slice(0, LOGGED_NAME_LENGTH).replace(/[^\x20-\x7e]/g, '?');
  return text.length > LOGGED_NAME_LENGTH ? `"${shown}..."` : `"${shown}"`;
}
