/** From uses of the image tools to medians, and to lines for a terminal. */

import { median } from './summary.ts';
import { TOOL_NAMES, type ToolCase, type ToolName } from './tool-cases.ts';
import type { ToolSample } from './tools.ts';

export interface ToolMedians {
  readonly tool: ToolName;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** The longest use over the shortest: how noisy the machine was. */
  readonly spread: number;
}

/** One kind of work; the ratio is how many times as fast as qemu-img this tool was. */
export interface ToolSummary {
  readonly work: ToolCase;
  readonly tools: readonly ToolMedians[];
  readonly ratio: number | undefined;
  readonly isReached: boolean;
  readonly faults: readonly string[];
}

export function summarizeTools(
  works: readonly ToolCase[],
  samples: readonly ToolSample[],
): ToolSummary[] {
  return works.map((work) => {
    const own = samples.filter((sample) => sample.work === work.id);
    const tools = TOOL_NAMES.flatMap((tool) => mediansOf(tool, own));
    const secondsOf = (name: ToolName) => tools.find(({ tool }) => tool === name)?.seconds;
    const [peer, ours] = [secondsOf('qemu-img'), secondsOf('tmem-image')];
    const ratio = peer === undefined || ours === undefined ? undefined : peer / ours;
    const faults = own.flatMap(({ tool, round, fault }) =>
      fault === undefined ? [] : [`${tool}, round ${round}: ${fault}`],
    );
    const isReached = ratio !== undefined && ratio >= work.times && faults.length === 0;
    return { work, tools, ratio, isReached, faults };
  });
}

function mediansOf(tool: ToolName, samples: readonly ToolSample[]): ToolMedians[] {
  const own = samples.filter((sample) => sample.tool === tool);
  if (own.length === 0) return [];
  const seconds = own.map((sample) => sample.seconds);
  return [
    {
      ...{ tool, seconds: median(seconds) },
      cpuSeconds: median(own.map((sample) => sample.cpuSeconds)),
      spread: Math.max(...seconds) / Math.min(...seconds),
    },
  ];
}

/** The tools' part of the report. */
export function renderTools(summaries: readonly ToolSummary[]): string {
  return summaries.flatMap((summary) => [...renderWork(summary), '']).join('\n');
}

function renderWork({ work, tools, ratio, isReached, faults }: ToolSummary): string[] {
  const peer = tools.find(({ tool }) => tool === 'qemu-img');
  const rows = tools.map((own) => {
    const times = peer === undefined ? '' : (peer.seconds / own.seconds).toFixed(2);
    const figures = [own.seconds.toFixed(2), times, own.cpuSeconds.toFixed(2)];
    return columns(`  ${own.tool}`, [...figures, own.spread.toFixed(2)]);
  });
  const reached = isReached ? 'reached' : 'NOT reached';
  return [
    columns(work.title, ['seconds', '× qemu-img', 'CPU s', 'max/min']),
    ...rows,
    ...(ratio === undefined
      ? []
      : [`    tmem-image: ${ratio.toFixed(2)}× qemu-img; at least ${work.times}×: ${reached}`]),
    ...faults.map((fault) => `    NOT VALID: ${fault}`),
  ];
}

function columns(first: string, others: readonly string[]): string {
  return first.padEnd(62) + others.map((text) => text.padStart(12)).join('');
}
