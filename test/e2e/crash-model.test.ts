import { expect, test } from 'vitest';
import { CrashModel, describeFaults, type Survival } from '../tools/crash-model.ts';
import { encodeSectors, SECTOR_BYTES } from '../tools/crash-sectors.ts';

const SEED = 5;
const OLD = sector(1);
const NEW = sector(2);
const ZEROS = Buffer.alloc(SECTOR_BYTES);

/** Sector 0 as the write of that version leaves it. */
function sector(version: number, seed = SEED, place = 0): Buffer {
  return encodeSectors({ seed, version, connection: 0 }, place, 1);
}

/** A disk of one sector. */
function disk(survival: Survival = 'flushed') {
  const model = new CrashModel(SEED, 1, survival);
  const begin = (kind: 'write' | 'zeroes' | 'trim', hasFua = false) =>
    model.beginChange(kind, 0, 1, hasFua);
  const change = (...args: Parameters<typeof begin>) => model.endChange(begin(...args));
  const flush = () => model.endFlush(model.beginFlush());
  const faults = (medium: Buffer) => describeFaults(model.checkMedium(medium));
  return { model, begin, change, flush, faults };
}

test('what was answered and not flushed may be there or not', () => {
  const { change, faults } = disk();
  change('write');
  expect([faults(ZEROS), faults(OLD)]).toEqual(['', '']);
});

test('what was flushed is there, and what was sent later may be', () => {
  const { change, begin, flush, faults } = disk();
  change('write');
  flush();
  begin('write');
  expect([faults(OLD), faults(NEW)]).toEqual(['', '']);
  expect(faults(ZEROS)).toMatch('sector 0 holds version 0, not write 1 or later');
});

test('a flush vouches for what was answered before it was sent, when it is answered', () => {
  const { model, begin, faults } = disk();
  const write = begin('write');
  const early = model.beginFlush();
  model.endChange(write);
  model.endFlush(early);
  const late = model.beginFlush();
  expect(faults(ZEROS)).toBe('');
  const beforeAnswer = model.clock.now;
  model.endFlush(late);
  expect(faults(ZEROS)).toMatch('holds version 0');
  expect(model.checkMedium(ZEROS, beforeAnswer)).toEqual([]);
});

test('FUA vouches for its own write and for those answered before it', () => {
  const own = disk();
  own.change('write', true);
  expect(own.faults(ZEROS)).toMatch('holds version 0');
  const model = new CrashModel(SEED, 2, 'flushed');
  model.endChange(model.beginChange('write', 0, 1, false));
  model.endChange(model.beginChange('zeroes', 1, 1, true));
  expect(describeFaults(model.checkMedium(Buffer.alloc(2 * SECTOR_BYTES)))).toMatch('sector 0');
});

test('where writes go through, an answer is enough', () => {
  const { change, faults } = disk('answered');
  change('write');
  expect(faults(ZEROS)).toMatch('holds version 0');
});

test('sectors that are mixed, misplaced, of another run or never sent are told', () => {
  const { change, flush, faults } = disk();
  change('write');
  change('write');
  flush();
  const half = SECTOR_BYTES / 2;
  const mixed = Buffer.concat([NEW.subarray(0, half), OLD.subarray(half)]);
  expect(faults(mixed)).toMatch('sector 0 is mixed of versions (found 0, write 1, write 2)');
  expect(faults(Buffer.concat([ZEROS.subarray(4), NEW.subarray(0, 4)]))).toMatch('is mixed');
  expect(faults(sector(2, SEED, 1))).toMatch('belongs to another');
  expect(faults(sector(2, SEED + 1))).toMatch('another run');
  expect(faults(sector(3))).toMatch('holds version 3');
  expect(faults(OLD)).toMatch('holds version 1');
});

test('a trimmed sector is zeros or what it once was; zeroes are zeros', () => {
  const trimmed = disk();
  for (const kind of ['write', 'write', 'trim'] as const) trimmed.change(kind);
  trimmed.flush();
  expect([ZEROS, OLD, NEW].map(trimmed.faults)).toEqual(['', '', '']);
  expect(trimmed.faults(sector(3))).toMatch('holds version 3');
  const zeroed = disk();
  for (const kind of ['write', 'zeroes'] as const) zeroed.change(kind);
  zeroed.flush();
  expect(zeroed.faults(ZEROS)).toBe('');
  expect(zeroed.faults(OLD)).toMatch('holds version 1');
});

test('a reader gets the last version, and a new round begins with what was found', () => {
  const { model, change, faults } = disk();
  change('write');
  change('write');
  expect(model.checkRead(NEW, 0)).toEqual([]);
  expect(describeFaults(model.checkRead(OLD, 0))).toMatch('holds version 1');
  model.settle(OLD);
  expect([faults(OLD), model.checkRead(OLD, 0)]).toEqual(['', []]);
  expect(faults(NEW)).toMatch('holds version 2');
});
