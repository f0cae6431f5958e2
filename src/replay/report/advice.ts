/** The setting to choose, in one sentence. */

import { formatPercent } from '../../lib/quantities.ts';
import { servicePolicyOf } from '../engine/policy-specs.ts';
import { coldName, pagesAs } from './format.ts';
import type { Advice, RunFacts } from './report.ts';

/** The cache that is worth its memory hits this part of what an endless one would. */
const WORTH_IT = 0.9;
/** A policy has to be this much better than the one preferred, as a miss ratio. */
const CLEARLY_BETTER = 0.01;
/** Taken unless another is clearly better: scans do not harm it, and a hit costs little. */
const PREFERRED_POLICY = 's3fifo-cw';
/** A difference of miss ratios that is worth a sentence. */
const WORTH_SAYING = 0.003;
/** Below this no cache is worth much. */
const LITTLE = 0.1;

/** What is known when the advice is given. */
export interface AdviceInput {
  readonly runs: readonly RunFacts[];
  /** Of the accesses that count: the share that no cache can avoid to miss. */
  readonly coldMissRatio: number;
  readonly footprintPages: number;
  readonly pageBytes: number;
  readonly unit: 'bytes' | 'keys';
  /** Of `full`, sizes are of the memory that the service may take. */
  readonly engine: 'sizes' | 'full';
  readonly ops: string;
}

/** The policy with the fewest misses at a size; the preferred one if it is about as good. */
function bestAt(runs: readonly RunFacts[], pages: number): RunFacts | undefined {
  const best = leastMisses(runs, pages);
  const wanted = runs.find((run) => run.capacityPages === pages && run.policy === PREFERRED_POLICY);
  const isAsGood =
    wanted !== undefined &&
    best !== undefined &&
    wanted.missRatio - best.missRatio < CLEARLY_BETTER;
  return isAsGood ? wanted : best;
}

/** The smallest size that is worth its memory, or the largest there is; with its policy. */
function choose({ runs, coldMissRatio }: AdviceInput): RunFacts | undefined {
  const sizes = [...new Set(runs.map(({ capacityPages }) => capacityPages))].sort((a, b) => a - b);
  const bests = sizes.flatMap((pages) => bestAt(runs, pages) ?? []);
  const enough = bests.find(({ missRatio }) => 1 - missRatio >= WORTH_IT * (1 - coldMissRatio));
  return enough ?? bests.at(-1);
}

/** The advice; there must be a run. */
export function adviceOf(input: AdviceInput): Advice {
  const chosen = choose(input);
  if (chosen === undefined) throw new Error('advice without a run');
  const { policy, capacityPages, capacityBytes, missRatio } = chosen;
  const hitRatio = 1 - missRatio;
  const hitRatioMax = 1 - input.coldMissRatio;
  const sentence =
    `${settingOf(input, chosen)} ${formatPercent(hitRatio)} of the accesses hit, ` +
    `of the ${formatPercent(hitRatioMax)} that any cache could.`;
  const notes = notesOf(input, chosen);
  return { policy, capacityPages, capacityBytes, hitRatio, hitRatioMax, sentence, notes };
}

/** What to set, or what was tried where no service can be set to that, with a colon. */
function settingOf(input: AdviceInput, { policy, capacityPages }: RunFacts): string {
  const { engine, footprintPages, pageBytes, unit } = input;
  const share = capacityPages / footprintPages;
  const part =
    share > 1 ? 'more than the whole footprint' : `${formatPercent(share)} of the footprint`;
  const what = engine === 'full' ? ' of memory' : unit === 'bytes' ? ' of pages' : '';
  const size = `${pagesAs(capacityPages, pageBytes, unit)}${what} (${part})`;
  const name = servicePolicyOf(policy);
  if (name === undefined) return `No service has ${policy}, with which in ${size}:`;
  return `${engine === 'full' ? 'Give' : 'Keep'} ${size} with ${name}:`;
}

function notesOf(input: AdviceInput, chosen: RunFacts): string[] {
  const { runs, coldMissRatio, footprintPages, unit, ops } = input;
  const { capacityPages, missRatio } = chosen;
  const hitRatioMax = 1 - coldMissRatio;
  const notes: string[] = [];
  if (hitRatioMax < LITTLE) {
    notes.push(
      `No cache helps this workload much: ${formatPercent(coldMissRatio)} of the accesses are ${coldName(ops)}.`,
    );
  } else if (1 - missRatio < WORTH_IT * hitRatioMax) {
    notes.push(moreMemory(input, chosen));
  }
  const best = leastMisses(runs, capacityPages);
  if (best !== undefined && missRatio - best.missRatio >= WORTH_SAYING) {
    const points = ((missRatio - best.missRatio) * 100).toFixed(1);
    notes.push(`${best.policy} would miss ${points} points less at this size.`);
  }
  const doubled = nextSizes(input, chosen);
  if (doubled !== undefined) notes.push(doubled);
  const larger = [...new Set(runs.map((run) => run.capacityPages))].filter(
    (pages) => pages > footprintPages,
  );
  if (larger.length > 0 && input.engine === 'sizes') {
    notes.push(
      `${larger.length === 1 ? 'One of the sizes is' : `${larger.length} of the sizes are`} larger ` +
        `than the footprint: there, only ${coldName(ops)} miss.`,
    );
  }
  if (unit === 'bytes' && input.engine === 'sizes') {
    notes.push('The sizes are of pages as clients see them; compressed, they take less memory.');
  }
  return notes;
}

/** What is said where even the largest size that was tried is too small. */
function moreMemory({ runs, coldMissRatio }: AdviceInput, chosen: RunFacts): string {
  const own = runs.filter(({ policy }) => policy === chosen.policy);
  const smaller = own.filter(({ capacityPages }) => capacityPages < chosen.capacityPages);
  const before = smaller.reduce<RunFacts | undefined>(
    (last, run) => (last === undefined || run.capacityPages > last.capacityPages ? run : last),
    undefined,
  );
  const most = `a cache of the whole footprint would hit ${formatPercent(1 - coldMissRatio)}`;
  if (before === undefined) return `No other size was tried; ${most}.`;
  if (before.missRatio - chosen.missRatio < WORTH_SAYING) {
    return `The last of the sizes brought hardly anything, but ${most}: larger ones are worth a try.`;
  }
  return `More memory than was tried would help: the curve still falls, and ${most}.`;
}

function leastMisses(runs: readonly RunFacts[], pages: number): RunFacts | undefined {
  const served = runs.filter(({ policy }) => servicePolicyOf(policy) !== undefined);
  // Where nothing else was asked for, what cannot be set is told of all the same.
  return (served.length > 0 ? served : runs)
    .filter((run) => run.capacityPages === pages)
    .reduce<RunFacts | undefined>(
      (least, run) => (least === undefined || run.missRatio < least.missRatio ? run : least),
      undefined,
    );
}

/** What the next larger size would bring, in hits for memory. */
function nextSizes(input: AdviceInput, chosen: RunFacts): string | undefined {
  const { runs, unit, pageBytes, footprintPages } = input;
  const next = runs.find(
    ({ policy, capacityPages }) => policy === chosen.policy && capacityPages > chosen.capacityPages,
  );
  if (next === undefined || chosen.capacityPages >= footprintPages) return undefined;
  const points = Math.max(0, (chosen.missRatio - next.missRatio) * 100).toFixed(1);
  const more = Math.min(next.capacityPages, footprintPages) - chosen.capacityPages;
  return `Another ${pagesAs(more, pageBytes, unit)} would bring ${points} points more.`;
}
