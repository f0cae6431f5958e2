/** The verbs of `tmem ctl` that are about one export or one pool. */

import type { ShareStatus } from '../../admin/api.ts';
import { flushedAnswer, shareStatus } from '../../admin/schemas.ts';
import { TmemError } from '../../lib/errors.ts';
import { formatCount } from '../../lib/quantities.ts';
import { formatSize, parseSize } from '../../lib/sizes.ts';
import { LONG_MS_MAX } from '../admin/client.ts';
import { ownerPath, parsePool } from '../admin/owner-paths.ts';
import { parseNumber, readValue } from '../command/arguments.ts';
import { printable } from '../terminal/table.ts';
import type { Verb } from './verb.ts';

const WEIGHT_MAX = 10_000;
const NO_CAP = 'none';

/** A share as a person reads it, also in tables. */
export function formatCap({ capBytes }: ShareStatus): string {
  return capBytes === null ? NO_CAP : formatSize(capBytes);
}

function parseWeight(text: string): number {
  const message = `--weight: "${text}" is not a weight; give a whole number from 1 to ${WEIGHT_MAX}`;
  return parseNumber(text, 1, message, WEIGHT_MAX);
}

const share: Verb = {
  name: 'share',
  operands: 'EXPORT|pool:ID',
  operandsMin: 1,
  operandsMax: 1,
  summary: 'set how much memory one may have of it',
  about:
    'When memory is short, pages leave from whoever is furthest above its share. Shares are in\n' +
    'proportion to the weights; what is below its minimum loses no pages to others. What is not given\n' +
    'stays as it is. An export whose name begins with pool: is written export:NAME.',
  options: {
    weight: { value: 'N', help: `its part compared with the others, 1 to ${WEIGHT_MAX}` },
    cap: { value: 'SIZE', help: `the most it may have, or ${NO_CAP}` },
    minimum: { value: 'SIZE', help: 'what is left to it whatever others need' },
  },
  run: async ({ client, operands: [owner = ''], parsed }) => {
    const weight = parsed.last('weight');
    const cap = parsed.last('cap');
    const minimum = parsed.last('minimum');
    const body = {
      ...(weight !== undefined && { weight: parseWeight(weight) }),
      ...(cap !== undefined && {
        capBytes: cap === NO_CAP ? null : readValue('cap', cap, parseSize),
      }),
      ...(minimum !== undefined && { minimumBytes: readValue('minimum', minimum, parseSize) }),
    };
    if (Object.keys(body).length === 0) {
      throw new TmemError('usage', 'nothing is to be set; give --weight, --cap or --minimum');
    }
    const now = await client.ask('PUT', `${ownerPath(owner)}/share`, shareStatus, { body });
    const least = formatSize(now.minimumBytes);
    const text = `weight ${now.weight}, cap ${formatCap(now)}, minimum ${least}`;
    return { json: now, text: `${printable(owner)}: ${text}\n` };
  },
};

const flush: Verb = {
  name: 'flush',
  operands: 'pool:ID [OBJECT [INDEX]]',
  operandsMin: 1,
  operandsMax: 3,
  summary: 'drop the pages of a pool, an object, or one',
  about:
    'Drops what may vanish: all of the pool, of one object in it, or the page with that index. Clients\n' +
    'of an export find the same content as before, read from the image. A pool that another program\n' +
    'made ends when all of it is dropped.',
  run: async ({ client, operands: [pool = '', object, index] }) => {
    let path = `/v1/pools/${parsePool(pool)}`;
    if (object !== undefined) {
      path += `/objects/${parseNumber(object, 0, `"${object}" is not an object; give its number`)}`;
    }
    if (index !== undefined) {
      path += `/pages/${parseNumber(index, 0, `"${index}" is not an index; give a whole number`)}`;
    }
    const answer = await client.ask('DELETE', path, flushedAnswer, { timeoutMs: LONG_MS_MAX });
    const { flushedPages: count } = answer;
    return { json: answer, text: `dropped ${formatCount(count)} page${count === 1 ? '' : 's'}\n` };
  },
};

export const OWNER_VERBS: readonly Verb[] = [share, flush];
