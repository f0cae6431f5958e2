import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ExportOptions } from '../../src/trace/export/exporter.ts';
import { outputNameOf, outputOfName } from '../../src/trace/export/exporters.ts';
import { OutputFile } from '../../src/trace/export/output-file.ts';
import { OP, RequestBatch } from '../../src/trace/request-batch.ts';
import { fc } from '../tools/seed.ts';
import { workspace } from '../tools/workspace.ts';
import { readFiles, writeFiles } from './written.ts';

type Row = readonly [timeUs: number, offset: number, length: number, volume: number, op: number];

const VOLUMES = ['a', 'b'];

/** Writes rows in batches of `perBatch` and answers the file's path. */
async function exported(
  format: string,
  rows: readonly Row[],
  options: Partial<ExportOptions> = {},
  perBatch = 7,
): Promise<string> {
  const path = join(workspace(), 'out');
  const file = await OutputFile.create(path, false);
  try {
    const exporter = outputOfName(format).create(file, {
      ...{ unit: 'bytes', hasClock: true, pageBytes: 4096, sourceHash: '', sampleRate: 1 },
      ...{ volumes: () => VOLUMES, onSecondPass: () => {} },
      ...options,
    });
    const batch = new RequestBatch(perBatch);
    for (let at = 0; at < rows.length; at += perBatch) {
      batch.count = 0;
      for (const row of rows.slice(at, at + perBatch)) batch.push(...row, 0, 0);
      await exporter.write(batch);
    }
    await exporter.finish();
    await file.finish();
    return path;
  } catch (error) {
    await file.abandon(); // newer Node takes a file that nobody closed for an error
    throw error;
  }
}

/** Records of oracleGeneral. */
function oracleRecords(path: string) {
  const bytes = readFileSync(path);
  return Array.from({ length: bytes.length / 24 }, (_, index) => ({
    time: bytes.readUInt32LE(index * 24),
    key: bytes.readBigUInt64LE(index * 24 + 4),
    size: bytes.readUInt32LE(index * 24 + 12),
    next: Number(bytes.readBigInt64LE(index * 24 + 16)),
  }));
}

const ROWS = fc.array(
  fc.tuple(
    fc.nat(1e9),
    fc.nat(40 * 4096),
    fc.integer({ min: 1, max: 3 * 4096 }),
    fc.nat(1),
    fc.nat(1),
  ),
  { minLength: 1, maxLength: 80 },
);

/** The pages that rows touch: name and operation. */
function pagesOf(rows: readonly Row[]): [bigint, number][] {
  return rows.flatMap(([, offset, length, volume, op]) => {
    const first = Math.floor(offset / 4096);
    const count = Math.floor((offset + length - 1) / 4096) - first + 1;
    return Array.from({ length: count }, (_, page): [bigint, number] => [
      BigInt(first + page) + (BigInt(volume) << 41n),
      op,
    ]);
  });
}

it.each(['tmem', 'csv'])('times that no trace can hold are not written as %s', async (format) => {
  for (const timeUs of [2 ** 53 + 2, 1.6e21]) {
    const rows: Row[] = [
      [0, 0, 4096, 0, OP.read],
      [timeUs, 0, 4096, 0, OP.read],
    ];
    const writing = exported(format, rows.slice(1));
    await expect(writing).rejects.toThrow(/beyond what .* say which with --time-unit/);
    await expect(exported(format, rows)).rejects.toMatchObject({ kind: 'invalid' });
  }
});

describe("libCacheSim's oracleGeneral", () => {
  it('has an access for each page, and when that page comes next', async () => {
    await fc.assert(
      fc.asyncProperty(ROWS, async (rows) => {
        const records = oracleRecords(await exported('oracle-general', rows));
        const keys = pagesOf(rows).map(([key]) => key);
        expect(records.map(({ key }) => key)).toEqual(keys);
        for (const [index, { next, size }] of records.entries()) {
          const found = keys.indexOf(keys[index] ?? 0n, index + 1);
          expect(next).toBe(found < 0 ? -1 : found + 1);
          expect(size).toBe(4096);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('has no accesses of trims and flushes, and sectors where requests stay whole', async () => {
    const rows: Row[] = [
      [5e6, 1024, 3000, 0, OP.read],
      [6e6, 0, 4096, 0, OP.trim],
      [6e6, 0, 0, 0, OP.flush],
      [7e6, 1024, 512, 0, OP.write],
    ];
    const path = await exported('oracle-general', rows, { pageBytes: 0 });
    expect(oracleRecords(path)).toEqual([
      { time: 5, key: 2n, size: 3000, next: 2 },
      { time: 7, key: 2n, size: 512, next: -1 },
    ]);
  });

  it('is right over many pieces of the second pass', async () => {
    const rows = Array.from({ length: 120_000 }, (_, index): Row => {
      // Pages of the same number on several volumes are several objects.
      const object = index % 50_000;
      return [index, (object >> 4) * 4096, 4096, object & 15, OP.read];
    });
    const path = await exported('oracle-general', rows, {}, 8192);
    const records = oracleRecords(path);
    const wrong = records.filter(({ next }, index) => {
      return next !== (index + 50_000 < rows.length ? index + 50_001 : -1);
    });
    expect(wrong).toEqual([]);
  });
});

describe.each(['lcs', 'lcs-v2'])("libCacheSim's %s", (format) => {
  it('is read again with operations and tenants', async () => {
    await fc.assert(
      fc.asyncProperty(ROWS, async (rows) => {
        const { trace, requests } = await readFiles([await exported(format, rows)]);
        expect(trace.formatName).toBe('lcs');
        const read = requests.map(({ offset, op, volume }) => [offset, op, volume]);
        const tenants = ['out', 'tenant-1'];
        const written = pagesOf(rows).map(([key, op]) => [
          Number(key),
          op === OP.read ? 'read' : 'write',
          tenants[Number(key >> 41n)],
        ]);
        expect(read).toEqual(written);
      }),
      { numRuns: 20 },
    );
  });

  it('says in its header how much there is', async () => {
    const rows: Row[] = [
      [0, 0, 8192, 0, OP.read],
      [1, 4096, 4096, 0, OP.write],
    ];
    const bytes = readFileSync(await exported(format, rows));
    const at = format === 'lcs' ? 488 : 24;
    const totals = [0, 8, 16, 24].map((field) => Number(bytes.readBigInt64LE(at + field)));
    expect(totals).toEqual([3, 2, 3 * 4096, 2 * 4096]);
  });
});

it('a trim of a whole disk, of which each page would be a record, is refused by lcs', async () => {
  const trim: Row = [0, 0, 2 ** 40, 0, OP.trim];
  await expect(exported('lcs', [trim])).rejects.toThrow(/a trim of 268435456 pages .*trace cut/);
});

describe.each(['csv', 'tmem'])('%s', (format) => {
  it('is read again as it was', async () => {
    const rows: Row[] = [
      [1_500_000_000_000_000, 512, 1024, 1, OP.read],
      [1_500_000_000_000_001, 0, 4096, 0, OP.trim],
      [1_500_000_000_000_002, 0, 0, 0, OP.flush],
      [1_500_000_000_000_003, 2 ** 52, 512, 1, OP.zero],
    ];
    const path = await exported(format, rows, {}, 2);
    const { trace, requests } = await readFiles([path]);
    expect(trace.formatName).toBe(format);
    const again = requests.map(({ timeUs, offset, length, volume, op }) => [
      ...[timeUs, offset, length, VOLUMES.indexOf(volume), OP[op as keyof typeof OP]],
    ]);
    expect(again).toEqual(rows);
  });

  it('keeps keys, and what size their objects have', async () => {
    const path = join(workspace(), 'out');
    const file = await OutputFile.create(path, false);
    const exporter = outputOfName(format).create(file, {
      ...{ unit: 'keys', hasClock: false, pageBytes: 4096, sourceHash: '', sampleRate: 1 },
      ...{ volumes: () => ['keys'], onSecondPass: () => {} },
    });
    const batch = new RequestBatch(4);
    batch.push(0, 2 ** 53 - 1, 1, 0, OP.read, 0, 700);
    await exporter.write(batch);
    await exporter.finish();
    await file.finish();
    const { trace, requests } = await readFiles([path]);
    expect(trace.unit).toBe('keys');
    expect(requests).toMatchObject([{ offset: 2 ** 53 - 1, length: 1, contentBytes: 700 }]);
  });
});

describe('an output', () => {
  it('is not there before it is finished, nor after it was abandoned', async () => {
    const folder = workspace();
    const path = join(folder, 'out.csv');
    const file = await OutputFile.create(path, false);
    await file.write(Buffer.from('half'), 0);
    expect(existsSync(path)).toBe(false);
    await file.abandon();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('replaces nothing without being told to', async () => {
    const [path = ''] = writeFiles(['out.csv', 'kept']);
    await expect(OutputFile.create(path, false)).rejects.toThrow(/exists; .* --force/);
    const forced = await OutputFile.create(path, true);
    await forced.write(Buffer.from('new'), 0);
    expect(readFileSync(path, 'utf8')).toBe('kept');
    await forced.finish();
    expect(readFileSync(path, 'utf8')).toBe('new');
  });

  it('that someone else made meanwhile stays', async () => {
    const path = join(workspace(), 'out.csv');
    const [one, other] = [
      await OutputFile.create(path, false),
      await OutputFile.create(path, false),
    ];
    await one.write(Buffer.from('first'), 0);
    await one.finish();
    await expect(other.finish()).rejects.toThrow(/cannot put in place .*EEXIST/);
    await other.abandon();
    expect(readFileSync(path, 'utf8')).toBe('first');
    expect(readdirSync(dirname(path))).toEqual(['out.csv']);
  });

  it('that is no regular file is never replaced', async () => {
    await expect(OutputFile.create('/dev/null', true)).rejects.toThrow(/no regular file/);
  });

  it('has the format that its name says', () => {
    const names = ['a.tmemtrace', 'a.oracleGeneral.bin', 'a.lcs', 'a.lcs2', 'a.csv', 'a.bin'];
    expect(names.map(outputNameOf)).toEqual([
      'tmem',
      'oracle-general',
      'lcs',
      'lcs-v2',
      'csv',
      'tmem',
    ]);
    expect(() => outputOfName('oracle-generl')).toThrow(/did you mean oracle-general/);
  });
});
