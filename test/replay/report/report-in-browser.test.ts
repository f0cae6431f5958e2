import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { REPLAY_POLICY_NAMES } from '../../../src/replay/engine/policy-specs.ts';
import { parseMemoryList } from '../../../src/replay/report/memory-sizes.ts';
import { replay } from '../../../src/replay/report/replay.ts';
import { writeReport } from '../../../src/replay/report/write-report.ts';
import { leaveOutWithout, PROGRAM_PATH } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { mixedRequests, replayOptions, scriptedTrace } from './scripted-trace.ts';

const PNG_SIGNATURE = '89504e470d0a1a0a';
const POLICIES = ['s3fifo-cw', 'arc', 'lru', 'belady'];

const FIRST_LINE = '#miss-ratio-curves .chart g path[stroke="var(--s0)"]';

let browser: Browser | undefined;

/** Where Debian has it. */
function chromiumPath(): string | undefined {
  return PROGRAM_PATH.split(path.delimiter)
    .map((folder) => path.join(folder, 'chromium'))
    .find((file) => statSync(file, { throwIfNoEntry: false })?.isFile());
}

beforeAll(async () => {
  const executablePath = chromiumPath();
  if (executablePath === undefined) return;
  // Chromium's own sandbox needs rights that a container does not give; the page is ours.
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
});
afterAll(() => browser?.close());
beforeEach(({ skip }) => leaveOutWithout(skip, 'chromium'));

/** Opens a report from disk, without a network; `complaints` is what the console said. */
async function openReport(
  directory: string,
  colorScheme: 'light' | 'dark' = 'light',
): Promise<{ page: Page; complaints: string[] }> {
  if (browser === undefined) throw new Error('no browser');
  const context = await browser.newContext({
    colorScheme,
    offline: true,
    viewport: { width: 1200, height: 900 },
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('requestfailed', (request) => complaints.push(request.url()));
  await page.goto(pathToFileURL(path.join(directory, 'out', 'report.html')).href);
  return { page, complaints };
}

/** A computed style; the functions of browsers are no part of the types here. */
function styleOf(page: Page, selector: string, property: string): Promise<string> {
  const element = `document.querySelector(${JSON.stringify(selector)})`;
  return page.evaluate<string>(`getComputedStyle(${element})[${JSON.stringify(property)}]`);
}

function background(page: Page): Promise<string> {
  return styleOf(page, 'body', 'backgroundColor');
}

async function writeSome(policies: readonly string[] = POLICIES): Promise<string> {
  const directory = workspace();
  const options = replayOptions({ policies, memory: parseMemoryList('5%,20%,60%') });
  const { report } = await replay(scriptedTrace(mixedRequests(4000, 500)), options);
  if (report === undefined) throw new Error('no report');
  await writeReport(report, path.join(directory, 'out'));
  return directory;
}

describe('a report in a browser', () => {
  test('opens from disk without a complaint, with every chart and all of its lines', async () => {
    const { page, complaints } = await openReport(await writeSome());
    expect(complaints).toEqual([]);
    expect(await page.locator('.chart svg').count()).toBe(9);
    const strokes = (id: string) =>
      page
        .locator(`#${id} .chart g path[stroke^="var(--"]`)
        .evaluateAll((paths) => paths.map((each) => each.getAttribute('stroke')));
    // One line a policy, and that of first uses.
    expect(new Set(await strokes('miss-ratio-curves')).size).toBe(POLICIES.length + 1);
    expect(new Set(await strokes('hits-over-time')).size).toBe(POLICIES.length + 1);
    for (const id of ['miss-ratio-curves', 'hits-over-time']) {
      expect(await page.locator(`#${id} .legend li`).count()).toBe(POLICIES.length + 1);
      expect(await page.locator(`#${id} [data-series="5"]`).count()).toBe(1);
    }
    expect(await page.locator('#heat-0 .chart path[fill^="var(--h"]').count()).toBeGreaterThan(20);
  });

  test('is drawn in the colours of its theme, and fits the width of a telephone', async () => {
    const directory = await writeSome();
    const seen: string[] = [];
    for (const theme of ['light', 'dark'] as const) {
      const { page, complaints } = await openReport(directory, theme);
      const file = path.join(directory, `${theme}.png`);
      await page.screenshot({ path: file, fullPage: true });
      expect(readFileSync(file).subarray(0, 8).toString('hex')).toBe(PNG_SIGNATURE);
      const colours = [await styleOf(page, FIRST_LINE, 'stroke'), await background(page)];
      expect(colours.every((colour) => /^rgb\(\d+, \d+, \d+\)$/.test(colour))).toBe(true);
      seen.push(...colours);
      for (const width of [390, 320]) {
        await page.setViewportSize({ width, height: 800 });
        const taken = await page.evaluate<number>('document.documentElement.scrollWidth');
        expect(taken).toBeLessThanOrEqual(width);
      }
      expect(complaints).toEqual([]);
    }
    expect(new Set(seen).size).toBe(4);
  });

  test('has room for the table of all policies', async () => {
    const { page } = await openReport(await writeSome(REPLAY_POLICY_NAMES));
    const table = `document.querySelector('#memory > .scroll')`;
    expect(await page.evaluate<number>(`${table}.querySelectorAll('thead th').length`)).toBe(16);
    const hidden = await page.evaluate<number>(`${table}.scrollWidth - ${table}.clientWidth`);
    expect(hidden).toBeLessThanOrEqual(0);
  });

  test('tells a screen reader what each chart shows, and opens its numbers', async () => {
    const { page } = await openReport(await writeSome());
    const images = page.getByRole('img');
    expect(await images.count()).toBe(9);
    const name = await page.locator('#miss-ratio-curves .chart').getAttribute('aria-label');
    expect(name).toMatch(/miss ratio over the cache size for 4 policies/);
    await page.locator('#miss-ratio-curves summary').click();
    const cells = page.locator('#miss-ratio-curves table tbody tr').first().locator('td');
    expect(await cells.allTextContents()).toHaveLength(1 + POLICIES.length);
    expect(await cells.last().textContent()).toMatch(/^\d+\.\d %$/);
  });

  test('prints on paper in light colours', async () => {
    const { page } = await openReport(await writeSome(), 'dark');
    await page.emulateMedia({ media: 'print' });
    expect(await background(page)).toBe('rgb(255, 255, 255)');
    const pdf = await page.pdf({ format: 'A4' });
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
  });
});
