/** The verbs of `tmem ctl` that are about the memory as a whole. */

import {
  freeableAnswer,
  freedAnswer,
  frozenAnswer,
  memoryStatus,
  snapshotStatus,
} from '../../admin/schemas.ts';
import { refuse } from '../../lib/errors.ts';
import { formatCount } from '../../lib/quantities.ts';
import { formatSize, parseSize } from '../../lib/sizes.ts';
import { LONG_MS_MAX } from '../admin/client.ts';
import type { Verb } from './verb.ts';

const NO_OPERANDS = { operands: '', operandsMin: 0, operandsMax: 0 } as const;
const ONE_SIZE = { operands: 'SIZE', operandsMin: 1, operandsMax: 1 } as const;

/** Throws a usage error for what is no size, and for nothing at all. */
function parseSome(text: string): number {
  const bytes = parseSize(text);
  if (bytes <= 0) refuse(`"${text}" is no memory at all; name a size above 0`);
  return bytes;
}

const freeze: Verb = {
  ...NO_OPERANDS,
  name: 'freeze',
  summary: 'take no new pages',
  about:
    'From now on no page is taken that is not in memory already. What is there can be read, replaced\n' +
    'by newer content, and dropped. Clients are served as before, from the images.',
  run: async ({ client }) => ({
    json: await client.ask('POST', '/v1/freeze', frozenAnswer),
    text: 'frozen: no new pages are taken until tmem ctl thaw\n',
  }),
};

const thaw: Verb = {
  ...NO_OPERANDS,
  name: 'thaw',
  summary: 'take new pages again',
  about: 'Ends what tmem ctl freeze began.',
  run: async ({ client }) => ({
    json: await client.ask('POST', '/v1/thaw', frozenAnswer),
    text: 'thawed: new pages are taken again\n',
  }),
};

const limit: Verb = {
  ...ONE_SIZE,
  name: 'limit',
  summary: 'set what all memory may come to',
  about:
    'Changes the limit that tmem serve --memory set, until the service ends. When it is lowered,\n' +
    'memory is given back little by little; clients do not wait for it.',
  run: async ({ client, operands: [size = ''] }) => {
    const body = { limitBytes: parseSome(size) };
    const memory = await client.ask('PUT', '/v1/memory', memoryStatus, { body });
    const { limitBytes, configuredLimitBytes, pressure } = memory;
    const reason = pressure === null ? '' : ` (${pressure.reason})`;
    const now =
      limitBytes < configuredLimitBytes ? `, at present ${formatSize(limitBytes)}${reason}` : '';
    return { json: memory, text: `the limit is ${formatSize(configuredLimitBytes)}${now}\n` };
  },
};

const shrink: Verb = {
  ...ONE_SIZE,
  name: 'shrink',
  summary: 'give memory back to the system, now',
  about:
    'Drops the coldest pages until SIZE has been given back or nothing is left that may vanish. The\n' +
    'limit stays, so what comes later may fill the memory again.',
  run: async ({ client, operands: [size = ''] }) => {
    const bytes = parseSome(size);
    const freed = await client.ask('POST', '/v1/shrink', freedAnswer, {
      body: { bytes },
      timeoutMs: LONG_MS_MAX,
    });
    const { freedBytes } = freed;
    const less = freedBytes < bytes ? ` of ${formatSize(bytes)}; no more can be` : '';
    return { json: freed, text: `gave back ${formatSize(freedBytes)}${less}\n` };
  },
};

const freeable: Verb = {
  ...NO_OPERANDS,
  name: 'freeable',
  summary: 'say how much memory shrink could give back',
  about: 'Prints the size of everything in memory that may vanish.',
  run: async ({ client }) => {
    const answer = await client.ask('GET', '/v1/freeable', freeableAnswer);
    return { json: answer, text: `${formatSize(answer.freeableBytes)}\n` };
  },
};

const snapshot: Verb = {
  ...NO_OPERANDS,
  name: 'snapshot',
  summary: 'save the clean pages to the snapshot file',
  about:
    'Writes what is clean to the file that tmem serve --snapshot named, while clients are served. A\n' +
    'service that is started with that file begins with those pages.',
  run: async ({ client }) => {
    const options = { timeoutMs: LONG_MS_MAX };
    const saved = await client.ask('POST', '/v1/snapshot', snapshotStatus, options);
    const { pages, bytes } = saved;
    return { json: saved, text: `saved ${formatCount(pages)} pages in ${formatSize(bytes)}\n` };
  },
};

export const MEMORY_VERBS: readonly Verb[] = [freeze, thaw, limit, shrink, freeable, snapshot];
