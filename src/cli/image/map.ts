/** `tmem image map`: what is allocated where. */

import { type MappedRun, mapImage } from '../../imaging/map.ts';
import { fullPath } from '../command/context.ts';
import { openInput, withImage } from './input.ts';
import { INPUT_OPTIONS } from './options.ts';
import type { ImageVerb } from './verb.ts';

/** Runs that are printed at once. */
const BATCH = 1000;

function stateOf({ isAllocated, isZero, isCompressed, isHole }: MappedRun): string {
  if (!isAllocated) return 'hole';
  if (isCompressed) return 'compressed';
  if (isZero) return isHole ? 'zero, no space' : 'zero';
  return 'data';
}

function lineOf(run: MappedRun): string {
  const numbers = [run.offset, run.length].map((each) => String(each).padStart(16)).join('  ');
  return `${numbers}  ${String(run.depth).padStart(5)}  ${stateOf(run)}\n`;
}

/** The names of qemu-img map, for who reads that already. */
function jsonOf(run: MappedRun): string {
  return JSON.stringify({
    start: run.offset,
    length: run.length,
    depth: run.depth,
    present: run.isAllocated,
    zero: run.isZero,
    data: !run.isZero,
    compressed: run.isCompressed,
  });
}

const TITLE = `${'OFFSET'.padStart(16)}  ${'LENGTH'.padStart(16)}  DEPTH  STATE\n`;

export const mapVerb: ImageVerb = {
  name: 'map',
  operands: 'FILE',
  operandsMin: 1,
  operandsMax: 1,
  summary: 'list what is allocated where',
  about:
    'Each line is a run of the disk: data, compressed, zero (it says so itself, with space for\n' +
    'content or no space) or hole (nobody has written there). DEPTH counts the images down to the one\n' +
    'that says it.',
  options: INPUT_OPTIONS,
  run: async (call) => {
    const { operands, context, parsed, stopped } = call;
    const [file = ''] = operands;
    const isJson = parsed.has('json');
    await withImage(openInput(call, fullPath(file, context)), async (image) => {
      let lines: string[] = [];
      let count = 0;
      context.stdout(isJson ? '[' : TITLE);
      for await (const run of mapImage(image, stopped)) {
        // Who reads no more has what was wanted: that is no failure.
        if (context.unread.aborted) return;
        lines.push(isJson ? `${count > 0 ? ',\n' : ''}${jsonOf(run)}` : lineOf(run));
        count++;
        if (lines.length < BATCH) continue;
        context.stdout(lines.join(''));
        lines = [];
      }
      context.stdout(lines.join('') + (isJson ? ']\n' : ''));
    });
    return {};
  },
};
