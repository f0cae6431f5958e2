import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** Who may import whom: the folders of `src`, and `index.ts`, the library's face. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  storage: ['lib'],
  image: ['storage', 'lib'],
  policy: ['lib'],
  curves: [],
  advisor: ['policy', 'curves', 'lib'],
  tmem: ['lib'],
  layers: ['tmem', 'policy', 'lib'],
  swap: ['layers', 'tmem', 'storage', 'lib'],
  snapshot: ['tmem', 'storage', 'lib'],
  export: ['tmem', 'policy', 'image', 'lib'],
  nbd: ['export', 'tmem', 'lib'],
  governor: ['lib'],
  trace: ['lib'],
  replay: ['trace', 'nbd', 'layers', 'tmem', 'policy', 'curves', 'lib'],
  imaging: ['image', 'storage', 'lib'],
  metrics: ['lib'],
  admin: ['tmem', 'lib'],
  service: [
    ...['admin', 'metrics', 'nbd', 'export', 'layers', 'tmem', 'policy', 'image'],
    ...['governor', 'snapshot', 'swap', 'trace', 'advisor', 'lib'],
  ],
  config: ['lib'],
  cli: ['service', 'admin', 'replay', 'trace', 'imaging', 'config', 'image', 'storage', 'lib'],
  'index.ts': ['service', 'layers', 'policy', 'tmem', 'lib'],
};

/** Of these a folder may import types besides: what they count, or are told. */
const MAY_IMPORT_TYPES: Readonly<Record<string, readonly string[]>> = {
  metrics: ['export', 'image', 'nbd', 'snapshot', 'tmem'],
  config: ['image'],
  admin: ['image', 'advisor'],
};

/** What is in a folder, from top to bottom: files and rooms import only what is in a row beneath. */
const ROOMS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  admin: [
    ['server.ts'],
    ['openapi.ts', 'control-routes.ts', 'pool-routes.ts'],
    ['controls.ts', 'pools', 'schemas.ts'],
    ['api.ts', 'http'],
  ],
  cli: [
    ['main.ts'],
    ['serve', 'status', 'ctl', 'record.ts', 'image', 'replay'],
    ['trace', 'admin'],
    ['command'],
    ['terminal'],
  ],
  export: [
    ['export.ts', 'base-images.ts'],
    ['reads', 'writes'],
    ['pages'],
    ['in-flight.ts', 'access-watcher.ts'],
  ],
  image: [
    ['open.ts', 'ramdisk.ts', 'background-copy.ts'],
    ['gate.ts', 'formats.ts'],
    ['raw.ts'],
    ['image.ts', 'cow', 'qcow', 'qcow2', 'qed', 'vmdk'],
    ['chain', 'luks', 'appended', 'check'],
    ['data'],
    ['format.ts', 'below.ts'],
    ['tables'],
  ],
  'image/qcow2': [
    ['driver.ts'],
    ['open.ts', 'info.ts', 'rebase.ts'],
    ['create', 'check', 'writes'],
    ['space', 'reads'],
    ['structures'],
  ],
  'image/vmdk': [
    ['driver.ts'],
    ['check', 'info.ts', 'rebase.ts'],
    ['open.ts', 'create'],
    ['scan'],
    ['extents'],
    ['structures'],
  ],
  imaging: [
    ['convert.ts'],
    [
      'create.ts',
      'check.ts',
      'commit.ts',
      'compare.ts',
      'info.ts',
      'map.ts',
      'measure.ts',
      'rebase.ts',
      'resize.ts',
    ],
    ['base-image.ts', 'copy', 'target'],
    ['breath.ts', 'progress.ts'],
  ],
  nbd: [
    ['server.ts'],
    ['connection.ts'],
    ['handshake', 'transmission', 'socket'],
    ['protocol.ts', 'meta-contexts.ts', 'recording.ts', 'statistics.ts'],
  ],
  policy: [
    ['policies.ts'],
    [
      'arc.ts',
      'belady.ts',
      'clock.ts',
      'fifo.ts',
      'gdsf.ts',
      'lirs.ts',
      'lru.ts',
      's3fifo.ts',
      'sieve.ts',
      'slru.ts',
      'two-q.ts',
      'w-tinylfu.ts',
    ],
    ['s3fifo-cw.ts'],
    ['parts'],
    ['policy.ts'],
  ],
  replay: [['report', 'live'], ['curves'], ['engine']],
  service: [
    ['service.ts'],
    ['admin', 'ending.ts'],
    ['base-copies.ts', 'drain.ts', 'warm-restart.ts', 'warnings', 'write-back-requests.ts'],
    ['exports.ts'],
    ['memory'],
    ['advisors.ts', 'recording', 'stack.ts'],
    ['disks.ts'],
    ['settings.ts'],
  ],
};

/** Which folders may import what is not ours; anything else is for everyone. */
const MAY_IMPORT_MODULE: Readonly<Record<string, readonly string[]>> = {
  // A Unix socket that a server left behind is a file, and listening includes removing it; to close
  // one is not waited for.
  'node:fs': ['storage', 'config', 'cli', 'governor', 'trace', 'replay', 'lib/listen.ts'],
  'node:fs/promises': [
    ...['storage', 'snapshot', 'cli', 'trace', 'replay', 'image/gate.ts'],
    ...['imaging/target/target-file.ts', 'lib/is-there.ts', 'lib/listen.ts', 'lib/place-new.ts'],
  ],
  // What waits for a ring of the kernel's is a socket as well.
  'node:net': [
    'nbd',
    'replay/live/connection.ts',
    'lib/listen.ts',
    'lib/socket-on.ts',
    'storage/uring/disk-ring.ts',
  ],
  'node:http': ['admin', 'cli'],
  'node:child_process': [],
  'node:worker_threads': ['replay'],
  'node:process': ['cli', 'service'],
  'prom-client': ['metrics'],
  yaml: ['config'],
  zod: ['config', 'admin'],
  koffi: ['lib/c-library.ts'],
  'lru-cache': ['image'],
  fzstd: ['image', 'trace'],
  '@bokuweb/zstd-wasm': ['image'],
  echarts: ['replay'],
  lz4: ['layers'],
  'lz4-napi': ['layers'],
};

/** What the table of `docs/architecture.md` says a folder may import; `types` alone, or all of it. */
function documented(): Map<string, { folders: string[]; types: string[] }> {
  const page = readFileSync(join(src, '..', 'docs', 'architecture.md'), 'utf8');
  const table = page.slice(page.indexOf('## Who may import whom'));
  const rows = [...table.matchAll(/^\| `([\w.]+)` \| (.*?)(?:; types of (.*?))? \|$/gm)];
  const named = (list = '') => list.split(/, | \(.*?\)/).filter((name) => name in MAY_IMPORT);
  return new Map(
    rows.map(([, folder = '', folders, types]) => [
      folder,
      { folders: named(folders).sort(), types: named(types).sort() },
    ]),
  );
}

/** What the page says is in the folders, as `ROOMS` does. */
function documentedRooms(): Record<string, string[][]> {
  const page = readFileSync(join(src, '..', 'docs', 'architecture.md'), 'utf8');
  const [, section = ''] = page.split('## What is in the crowded folders');
  const [table = ''] = section.split('\n## ');
  const rows = [...table.matchAll(/^\| `([\w/]+)` \| (.*) \|$/gm)];
  return Object.fromEntries(
    rows.map(([, folder, levels = '']) => [
      folder,
      levels.split(' → ').map((level) => level.split(', ')),
    ]),
  );
}

const LINES_MAX = 400;

interface Import {
  /** What is imported: a file of ours, relative to `src`, or a module's name. */
  readonly target: string;
  readonly isOurs: boolean;
  readonly isTypeOnly: boolean;
  /** It is loaded when it is needed, by `import()`. */
  readonly isLate: boolean;
}

interface SourceFile {
  /** Relative to `src`. */
  readonly path: string;
  readonly folder: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

const src = join(dirname(fileURLToPath(import.meta.url)), '..', 'src');
const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map(readSource);

function readSource(path: string): SourceFile {
  const text = readFileSync(join(src, path), 'utf8');
  const statement = /^(?:import|export)\s+(type\s)?([^;']*?from\s+)?'([^']+)';/gm;
  const importOf = (target: string, isTypeOnly: boolean, isLate: boolean): Import => {
    const isOurs = target.startsWith('.');
    const file = isOurs ? normalize(join(dirname(path), target)) : target;
    return { target: file, isOurs, isTypeOnly, isLate };
  };
  const imports = [
    ...[...text.matchAll(statement)].map(([, type, , target = '']) =>
      importOf(target, type !== undefined, false),
    ),
    ...[...text.matchAll(/(typeof )?\bimport\('([^']+)'\)/g)].map(([, type, target = '']) =>
      importOf(target, type !== undefined, true),
    ),
  ];
  return { path, folder: path.split('/')[0] ?? path, text, imports };
}

/** The code without its comments and strings. */
function codeOf({ text }: SourceFile): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$|'[^'\n]*'|`[^`]*`/gm, '');
}

describe('the source', () => {
  it('is read: every import statement is understood', () => {
    expect(files.length).toBeGreaterThan(50);
    for (const { path, text, imports } of files) {
      const counted = text.match(/ from '[^']+';$/gm)?.length ?? 0;
      const bare = text.match(/^import '/gm)?.length ?? 0;
      expect(imports.filter(({ isLate }) => !isLate).length, path).toBe(counted + bare);
    }
  });

  it('has only folders that the table knows, and each imports only what it may', () => {
    const wrong: string[] = [];
    for (const { path, folder, imports } of files) {
      const allowed = MAY_IMPORT[folder];
      if (allowed === undefined) wrong.push(`${path} is in no known folder`);
      for (const { target, isTypeOnly } of imports.filter((each) => each.isOurs)) {
        const other = target.split('/')[0] ?? target;
        const types = isTypeOnly ? (MAY_IMPORT_TYPES[folder] ?? []) : [];
        const isAllowed = other === folder || allowed?.includes(other) || types.includes(other);
        if (!isAllowed) wrong.push(`${path} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('is described as it is held to be', () => {
    const held = Object.entries(MAY_IMPORT).map(([folder, folders]) => {
      const types = MAY_IMPORT_TYPES[folder] ?? [];
      return [folder, { folders: [...folders].sort(), types: [...types].sort() }] as const;
    });
    expect(documented()).toEqual(new Map(held));
  });

  it('has folders whose rooms are known, and each imports only what is beneath it', () => {
    const wrong: string[] = [];
    for (const [folder, levels] of Object.entries(ROOMS)) {
      const roomOf = (path: string) => path.slice(folder.length + 1).split('/')[0] ?? path;
      const levelOf = (path: string) => levels.findIndex((rooms) => rooms.includes(roomOf(path)));
      const isInside = (path: string) => path.startsWith(`${folder}/`);
      for (const { path, imports } of files.filter(({ path }) => isInside(path))) {
        if (levelOf(path) < 0) wrong.push(`${path} is in no known room`);
        for (const { target } of imports.filter(({ target }) => isInside(target))) {
          const isDownwards = levelOf(target) > levelOf(path);
          if (!isDownwards && roomOf(target) !== roomOf(path)) {
            wrong.push(`${path} imports ${target}`);
          }
        }
      }
      const rooms = files.filter(({ path }) => isInside(path)).map(({ path }) => roomOf(path));
      expect(new Set(rooms), folder).toEqual(new Set(levels.flat()));
    }
    expect(wrong).toEqual([]);
    expect(documentedRooms()).toEqual(ROOMS);
  });

  it('has in lib what more than one folder uses, or lib itself', () => {
    const usersOf = ({ path }: SourceFile) =>
      files.filter(({ imports }) => imports.some(({ target }) => target === path));
    const lonely = files.filter((file) => {
      const folders = new Set(usersOf(file).map(({ folder }) => folder));
      return file.folder === 'lib' && folders.size < 2 && !folders.has('lib');
    });
    expect(lonely.map(({ path }) => path)).toEqual([]);
  });

  it('has layers that know no other layer', () => {
    const layers = files.filter(({ text }) => /class \w+ extends LayerFrame\b/.test(text));
    const paths = layers.map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(['layers/hot.ts', 'layers/zcache.ts']));
    for (const { path, imports } of files.filter(({ folder }) => folder === 'layers')) {
      for (const { target } of imports) expect(paths, `imported by ${path}`).not.toContain(target);
    }
  });

  it('opens files, sockets and processes only where that belongs', () => {
    const wrong: string[] = [];
    for (const file of files) {
      for (const { target } of file.imports) {
        const places = MAY_IMPORT_MODULE[target] ?? [file.folder];
        if (places.includes(file.folder) || places.includes(file.path)) continue;
        wrong.push(`${file.path} imports ${target}`);
      }
      const usesProcess = /\bprocess\s*\./.test(codeOf(file));
      if (usesProcess && !['cli', 'service'].includes(file.folder)) {
        wrong.push(`${file.path} uses process`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('has no file that is too long to read', () => {
    const long = files.filter(({ text }) => text.split('\n').length - 1 > LINES_MAX);
    expect(long.map(({ path }) => path)).toEqual([]);
  });

  it('has one barrel, the face of the library', () => {
    const barrels = files.filter(({ text }) => /^export\s[^;]*\bfrom\s+'/m.test(text));
    expect(barrels.map(({ path }) => path)).toEqual(['index.ts']);
  });

  it('has no import cycle at run time', () => {
    const byPath = new Map(files.map((file) => [file.path, file]));
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (path: string, from: readonly string[]): void => {
      if (from.includes(path)) cycles.push([...from.slice(from.indexOf(path)), path].join(' → '));
      if (done.has(path) || from.includes(path)) return;
      for (const { target, isOurs, isTypeOnly, isLate } of byPath.get(path)?.imports ?? []) {
        if (isOurs && !isTypeOnly && !isLate) visit(target, [...from, path]);
      }
      done.add(path);
    };
    for (const { path } of files) visit(path, []);
    expect(cycles).toEqual([]);
  });

  it('names files that are there, with their extension', () => {
    const paths = new Set(files.map(({ path }) => path));
    for (const { path, imports } of files) {
      for (const { target, isOurs } of imports) {
        if (isOurs) expect(paths, `${path} imports ${relative('.', target)}`).toContain(target);
      }
    }
  });
});
