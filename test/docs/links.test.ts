import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { SERVE_HELP } from '../../src/cli/serve/options.ts';
import { resolveConfig } from '../../src/config/effective.ts';
import { parseConfig } from '../../src/config/load.ts';
import { fileSchema } from '../../src/config/schema.ts';
import { CATALOGUE } from '../../src/metrics/catalogue.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** What every page about a layer says, in this order. */
const LAYER_SECTIONS = [
  'Synopsis',
  'What it does',
  'When not to use it',
  'Parameters',
  'Metrics',
  'Failure behaviour',
  'Sources',
];

/** The Markdown files of the project, relative to its root. */
const PAGES = ['.', 'bench', 'docs'].flatMap((folder) =>
  readdirSync(path.join(ROOT, folder), { recursive: folder === 'docs', encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => path.join(folder, name)),
);

function textOf(page: string): string {
  return readFileSync(path.join(ROOT, page), 'utf8');
}

/** A page without its examples. */
function proseOf(page: string): string {
  return textOf(page).replace(/^```[\s\S]*?^```$/gm, '');
}

function headingsOf(page: string): string[] {
  return [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading);
}

/** What a heading is called in a link, as GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
}

/** The relative links of a page that lead nowhere. */
function brokenLinksOf(page: string): string[] {
  const targets = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  return targets.filter((target) => {
    if (/^[a-z]+:/.test(target)) return false;
    const [file = '', anchor] = target.split('#');
    const found = file === '' ? page : path.join(path.dirname(page), file);
    if (!existsSync(path.join(ROOT, found))) return true;
    return anchor !== undefined && !headingsOf(found).map(anchorOf).includes(anchor);
  });
}

test.each(PAGES)('every relative link of %s leads somewhere', (page) => {
  expect(brokenLinksOf(page)).toEqual([]);
});

test('README leads to every page of the manual', () => {
  const manual = PAGES.filter((page) => /^docs\/(?!decisions)/.test(page));
  expect(manual.length).toBeGreaterThan(0);
  expect(manual.filter((page) => !textOf('README.md').includes(`(${page})`))).toEqual([]);
});

test('every option of tmem serve --help is in the manual', () => {
  const options = new Set(SERVE_HELP.match(/(?<![\w-])--[a-z][a-z-]*/g));
  const manual = textOf('docs/configuration.md');
  expect([...options].filter((option) => !manual.includes(`\`${option}`))).toEqual([]);
});

test('the example of a configuration can be served, and shows every key', () => {
  const [, example = ''] = /^```yaml\n([\s\S]*?)^```$/m.exec(textOf('docs/configuration.md')) ?? [];
  const keys = Object.keys(fileSchema.shape).sort();
  const { config: file } = parseConfig(example, '/example.yaml');
  // For all exports it would make all of them read-only.
  expect([...Object.keys(file), 'loadSnapshot'].sort()).toEqual(keys);
  const memory = { bytes: 8 * 1024 ** 3, owner: 'this machine' };
  const { exports } = resolveConfig(file, {}, { memory, isActivated: false });
  expect(exports.some(({ opening }) => opening.loadSnapshot !== undefined)).toBe(true);
});

test('every metric of the catalogue is in the manual, and the manual names no other', () => {
  const defined = new Set(CATALOGUE.map(({ name }) => name));
  const manual = proseOf('docs/metrics.md');
  expect([...defined].filter((name) => !manual.includes(`\`${name}`))).toEqual([]);
  const named = PAGES.flatMap((page) => textOf(page).match(/\btmem_[a-z_]+\b/g) ?? []);
  const series = named.map((name) => name.replace(/_(bucket|sum|count)$/, ''));
  expect(series.filter((name) => !defined.has(name))).toEqual([]);
});

const LAYER_PAGES = PAGES.filter((page) => page.startsWith('docs/layers/'));

test.each(LAYER_PAGES)('%s has the sections of its kind', (page) => {
  expect(headingsOf(page).slice(1)).toEqual(LAYER_SECTIONS);
});
