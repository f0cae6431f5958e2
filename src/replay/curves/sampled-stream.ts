/** A part of a stream: all references of some of its pages. */

import { HASH_RANGE, pageHash } from '../../curves/page-hash.ts';
import type { PageStream } from '../engine/page-stream.ts';
import { bitAt } from '../engine/write-bits.ts';

const NOT_SAMPLED = -1;

/**
 * The references of the pages whose hash is from `from` to below `to`, which are shares of all
 * hashes from 0 to 1. The hash is of the page's number in the stream, and of `salt`. Pages are
 * numbered anew, in the order of their first use; times are left out.
 */
export function sampledStream(
  stream: PageStream,
  salt: number,
  from: number,
  to: number,
): PageStream {
  const numberOf = new Int32Array(stream.pageCount);
  let pageCount = 0;
  for (let page = 0; page < stream.pageCount; page++) {
    const hash = pageHash(page, salt);
    const isSampled = hash >= from * HASH_RANGE && hash < to * HASH_RANGE;
    numberOf[page] = isSampled ? pageCount++ : NOT_SAMPLED;
  }
  return {
    ...stream,
    ...referencesOf(stream, numberOf),
    sampleRate: stream.sampleRate * (to - from),
    pageCount,
    volumeOfPage: filtered(stream.volumeOfPage, numberOf, sharedWords(Uint16Array, pageCount)),
    numberOfPage: filtered<Uint32Array | Float64Array>(
      stream.numberOfPage,
      numberOf,
      sharedWords(Float64Array, pageCount),
    ),
    times: sharedWords(Float64Array, 0),
  };
}

/** An array on memory that threads share. */
function sharedWords<Words>(
  kind: { new (buffer: SharedArrayBuffer): Words; readonly BYTES_PER_ELEMENT: number },
  length: number,
): Words {
  return new kind(new SharedArrayBuffer(length * kind.BYTES_PER_ELEMENT));
}

function filtered<Words extends Uint16Array | Uint32Array | Float64Array>(
  from: Words,
  numberOf: Int32Array,
  into: Words,
): Words {
  for (let page = 0; page < numberOf.length; page++) {
    const number = numberOf[page]!;
    if (number !== NOT_SAMPLED) into[number] = from[page]!;
  }
  return into;
}

function referencesOf(stream: PageStream, numberOf: Int32Array) {
  let requestCount = 0;
  for (let at = 0; at < stream.ids.length; at++) {
    if (numberOf[stream.ids[at]!] !== NOT_SAMPLED) requestCount++;
  }
  const ids = sharedWords(Int32Array, requestCount);
  const { writeBits } = stream;
  const bits = writeBits && sharedWords(Int32Array, Math.ceil(requestCount / 32));
  let writes = 0;
  for (let at = 0, to = 0; at < stream.ids.length; at++) {
    const number = numberOf[stream.ids[at]!]!;
    if (number === NOT_SAMPLED) continue;
    ids[to] = number;
    if (writeBits && bits && bitAt(writeBits, at)) {
      bits[to >>> 5] = bits[to >>> 5]! | (1 << (to & 31));
      writes++;
    }
    to++;
  }
  const drops = stream.ops === 'writes-invalidate' ? writes : 0;
  return { ids, requestCount, accessCount: requestCount - drops, writeBits: bits };
}
