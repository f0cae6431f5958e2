import { describe, expect, test } from 'vitest';
import { formatPercent } from '../../../src/lib/quantities.ts';
import { heatLevel } from '../../../src/replay/report/charts/heat-chart.ts';
import { drawLineChart, styleOfSeries } from '../../../src/replay/report/charts/line-chart.ts';
import { sizeStep, timeStep } from '../../../src/replay/report/charts/steps.ts';
import { axisTime, duration, shortCount, size } from '../../../src/replay/report/format.ts';

const AXIS = { name: 'x', scale: 'linear', format: String } as const;

function chart(id: string): string {
  const style = styleOfSeries(0);
  const points = [0, 1, 2].map((x) => ({ x, y: x * x }));
  const band = points.map(({ y }) => ({ low: y - 1, high: y + 1 }));
  return drawLineChart({
    id,
    x: AXIS,
    y: AXIS,
    series: [{ name: 'a', points, style, band }],
    mark: { x: 1, text: 'here' },
  });
}

describe('a chart', () => {
  test('is the same whatever was drawn before it, but for its own id', () => {
    const first = chart('one');
    expect(chart('one')).toBe(first);
    expect(chart('two').replaceAll('two-', 'one-')).toBe(first);
  });

  test('is coloured by the page, and has its band and its mark', () => {
    const svg = chart('one');
    expect(svg).toContain('stroke="var(--s0)"');
    expect(svg).toContain('fill="var(--s0)"');
    expect(svg).toContain('>here</text>');
    // Only masks have a colour of their own, which is not seen.
    expect(svg.replace(/<clipPath[\s\S]*?<\/clipPath>/g, '')).not.toMatch(/#[0-9a-f]{3,6}"/);
  });
});

test('a label beside that of the end of an axis is left out', () => {
  const labelsTo = (max: number) => {
    const x = { name: '', scale: 'log', base: 2, min: 64, max, format: String } as const;
    const points = [
      { x: 64, y: 0 },
      { x: max, y: 1 },
    ];
    const svg = drawLineChart({
      id: 'x',
      x,
      y: AXIS,
      series: [{ name: 'a', points, style: styleOfSeries(0) }],
    });
    return [...svg.matchAll(/>(\d{2,})<\/text>/g)].map(([, label]) => Number(label));
  };
  expect(labelsTo(600)).toEqual([64, 128, 256, 600]);
  expect(labelsTo(1000)).toEqual([64, 128, 256, 512, 1000]);
});

test('no two of forty-nine lines look alike', () => {
  const looks = Array.from({ length: 49 }, (_, index) => {
    const { colour, dash } = styleOfSeries(index);
    return `${colour} ${dash.join()}`;
  });
  expect(new Set(looks).size).toBe(49);
});

test('heat levels are from one to seven by equal factors, and none for nothing', () => {
  expect([0, 1, 9, 11, 1e6, 1e7].map((value) => heatLevel(value, 1, 1e7))).toEqual([
    0, 1, 1, 2, 7, 7,
  ]);
  expect(heatLevel(5, 5, 5)).toBe(7);
});

test('ticks are at round times and sizes', () => {
  expect([0.3, 7, 100, 7200, 90_000, 700_000].map((span) => timeStep(span))).toEqual([
    0.05, 1, 15, 900, 21_600, 172_800,
  ]);
  expect([0, 4096, 3 * 2 ** 30].map((span) => sizeStep(span))).toEqual([1, 1024, 2 ** 29]);
});

test('numbers are short, and never rounded to all or nothing', () => {
  expect([0, 0.00001, 0.5, 0.99999, 1].map(formatPercent)).toEqual([
    ...['0.0 %', '0.1 %', '50.0 %', '99.9 %', '100.0 %'],
  ]);
  expect([0, 1023, 1024, 2 ** 20 * 841.28, 2 ** 30].map(size)).toEqual([
    ...['0 B', '1023 B', '1 KiB', '841 MiB', '1 GiB'],
  ]);
  expect([12, 1234, 1.5e6, 2e9].map(shortCount)).toEqual(['12', '1.23 k', '1.5 M', '2 G']);
  expect([0.012, 3.25, 125, 7260, 2e5].map(duration)).toEqual([
    ...['12 ms', '3.3 s', '2 min 5 s', '2 h 1 min', '2 d 7 h'],
  ]);
  expect([axisTime(90, 60), axisTime(90, 600), axisTime(0.2, 0.4)]).toEqual([
    ...['90 s', '1.5 min', '200 ms'],
  ]);
});
