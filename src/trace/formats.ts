/** All formats that traces can be read in, and how a file's format is told. */

import { TmemError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import type { FileHead } from './file-head.ts';
import { LIKENESS, type TraceFormat } from './format.ts';
import { ownFormat } from './own/reader.ts';
import { alibaba } from './readers/alibaba.ts';
import { arc } from './readers/arc.ts';
import { blkparse } from './readers/blkparse.ts';
import { blktrace } from './readers/blktrace.ts';
import { csv, libCacheSimCsv } from './readers/csv.ts';
import { disksim } from './readers/disksim.ts';
import { fioV2, fioV3 } from './readers/fio.ts';
import { fiu } from './readers/fiu.ts';
import { k5 } from './readers/k5.ts';
import { lcs } from './readers/lcs.ts';
import { lirs } from './readers/lirs.ts';
import { mqsim } from './readers/mqsim.ts';
import { msr } from './readers/msr.ts';
import { oracleGeneral } from './readers/oracle-general.ts';
import { spc } from './readers/spc.ts';
import { systor } from './readers/systor.ts';
import { tectonic } from './readers/tectonic.ts';
import { tencent } from './readers/tencent.ts';
import { vscsiV1, vscsiV2 } from './readers/vscsi.ts';

/** In the order of the manual. */
export const TRACE_FORMATS: readonly TraceFormat[] = [
  ...[ownFormat, msr, vscsiV1, vscsiV2, systor, fiu, alibaba, tencent, spc, k5, tectonic],
  ...[arc, lirs, blkparse, blktrace, fioV2, fioV3, disksim, mqsim],
  ...[oracleGeneral, lcs, libCacheSimCsv, csv],
];

/** What `--format` takes to have the format told by the file. */
export const AUTO = 'auto';

const NAMES = TRACE_FORMATS.map(({ name }) => name);

/** The format of a name; throws a usage error for one that there is not. */
export function formatOfName(name: string): TraceFormat {
  const format = TRACE_FORMATS.find((each) => each.name === name);
  if (format !== undefined) return format;
  const meant = nearest(name, NAMES);
  const advice = meant === undefined ? `take one of ${NAMES.join(', ')}` : `did you mean ${meant}?`;
  throw new TmemError('usage', `there is no trace format "${name}"; ${advice}`);
}

/** The formats that fit the file best, equally well. */
function bestFits(head: FileHead): readonly TraceFormat[] {
  const fits = TRACE_FORMATS.map((format) => ({ format, likeness: format.likeness(head) }));
  const best = Math.max(...fits.map(({ likeness }) => likeness));
  if (best === LIKENESS.no) return [];
  return fits.filter(({ likeness }) => likeness === best).map(({ format }) => format);
}

/** The one format that fits best; undefined if there is none, or more than one. */
export function likelyFormat(head: FileHead): TraceFormat | undefined {
  const fits = bestFits(head);
  return fits.length === 1 ? fits[0] : undefined;
}

/** The format of a file by its beginning and its name; throws a `TmemError` if that is not clear. */
export function detectFormat(head: FileHead): TraceFormat {
  const { path } = head;
  const [format, ...others] = bestFits(head);
  if (format !== undefined && others.length === 0) return format;
  if (format === undefined) {
    const sentence = `${path} is in no known format; it begins with ${showBeginning(head)}`;
    const advice = `name the format with --format (${NAMES.join(', ')}) or convert it to CSV`;
    throw new TmemError('invalid', `${sentence}; ${advice}`);
  }
  const names = [format, ...others].map(({ name, title }) => `${name} (${title})`).join(' or ');
  throw new TmemError('invalid', `${path} might be ${names}; say which with --format`);
}

function showBeginning({ isText, lines: [first = ''], bytes }: FileHead): string {
  return isText ? `"${first.slice(0, 60)}"` : `the bytes ${bytes.toString('hex', 0, 16)}`;
}
