/** The binary form of a batch, written from its description: a client's side of it. */

export type BatchItem =
  | { readonly do: 'put'; readonly object: number; readonly index: number; readonly page: Buffer }
  | {
      readonly do: 'get' | 'take' | 'flushPage';
      readonly object: number;
      readonly index: number;
    }
  | { readonly do: 'flushObject'; readonly object: number };

export interface BatchResult {
  readonly operation: number;
  readonly outcome: number;
  readonly value: number;
  readonly page: Buffer | undefined;
}

const OPERATIONS = { put: 1, get: 2, take: 3, flushPage: 4, flushObject: 5 } as const;

/** One item as it is sent. */
export function encodeItem(item: BatchItem): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt8(OPERATIONS[item.do], 0);
  if ('index' in item) header.writeUInt32BE(item.index, 4);
  header.writeBigUInt64BE(BigInt(item.object), 8);
  return item.do === 'put' ? Buffer.concat([header, item.page]) : header;
}

export function encodeBatch(items: readonly BatchItem[]): Buffer {
  return Buffer.concat(items.map(encodeItem));
}

/** The results of an answer; throws when it is not of its form to the last byte. */
export function decodeResults(answer: Buffer): BatchResult[] {
  const results: BatchResult[] = [];
  for (let at = 0; at < answer.length; ) {
    const operation = answer.readUInt8(at);
    const outcome = answer.readUInt8(at + 1);
    if (answer.readUInt16BE(at + 2) !== 0) throw new Error('the reserved bytes are not 0');
    const value = answer.readUInt32BE(at + 4);
    at += 8;
    const carries = outcome === 0 && (operation === 2 || operation === 3) ? value : 0;
    if (at + carries > answer.length) throw new Error('a page is cut short');
    const page = carries === 0 ? undefined : answer.subarray(at, at + carries);
    results.push({ operation, outcome, value, page });
    at += carries;
  }
  return results;
}
