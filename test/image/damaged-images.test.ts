import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { driverOf } from '../../src/image/formats.ts';
import { qcow2Driver } from '../../src/image/qcow2/driver.ts';
import { damage, mutationCount } from '../tools/image-mutator.ts';
import { ordeal } from '../tools/ordeal.ts';
import { makeCorpus, OTHER_FORMATS } from '../tools/other-corpora.ts';
import { needsPrograms, runProgram } from '../tools/programs.ts';
import { makeQcow2Corpus } from '../tools/qcow2-corpus.ts';
import { SEED } from '../tools/seed.ts';
import { workspace } from '../tools/workspace.ts';

/** Every so many images are shown to qemu-img as well. */
const SAMPLE = 10;

describe('a damaged qcow2 image', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it('is refused or read, in bounded work, and clean only if qemu-img says so', async () => {
    const directory = workspace();
    const corpus = await makeQcow2Corpus(directory);
    const file = path.join(directory, 'damaged.qcow2');

    const count = mutationCount(300);
    if (count !== 300) console.log(`${count} damaged images from TMEM_SEED=${SEED} on`);
    const totals = { opened: 0, clean: 0 };
    const disagreements: string[] = [];
    for (let seed = SEED; seed < SEED + count; seed++) {
      const { bytes, what } = damage(corpus, seed);
      const outcome = await ordeal(qcow2Driver, bytes).catch((cause: unknown) => {
        throw new Error(`${what}: ${cause}`, { cause });
      });
      if (outcome.isOpened) totals.opened++;
      if (outcome.isClean === true) totals.clean++;
      if (seed % SAMPLE !== 0) continue;
      fs.writeFileSync(file, bytes);
      const { code } = await runProgram('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
      if ((outcome.isClean === true) !== (code === 0)) disagreements.push(what);
    }
    // Header fields that mean nothing are read more strictly by one or the other.
    expect(disagreements.slice(Math.floor(count / SAMPLE / 100))).toEqual([]);
    // Neither all nor none: the damage is neither too coarse nor too fine to tell them apart.
    expect(totals.opened).toBeGreaterThan(count / 4);
    expect(totals.clean).toBeGreaterThan(count / 10);
    expect(totals.clean).toBeLessThan(count * 0.9);
  }, 3_600_000);
});

describe('a damaged image of another format', () => {
  needsPrograms('qemu-img');

  it.each(OTHER_FORMATS)(
    'is refused or read, in bounded work: %s',
    async (formatName) => {
      const corpus = await makeCorpus(formatName, workspace());
      const driver = await driverOf(formatName);

      // To open what is enciphered takes many rounds, whatever the damage.
      const count = Math.ceil(mutationCount(300) / (formatName === 'luks' ? 8 : 2));
      let opened = 0;
      for (let seed = SEED; seed < SEED + count; seed++) {
        const { bytes, what } = damage(corpus, seed);
        const outcome = await ordeal(driver, bytes).catch((cause: unknown) => {
          throw new Error(`${what}: ${cause}`, { cause });
        });
        if (outcome.isOpened) opened++;
      }
      expect(opened).toBeGreaterThan(count / 10);
      expect(opened).toBeLessThan(count);
    },
    3_600_000,
  );
});
