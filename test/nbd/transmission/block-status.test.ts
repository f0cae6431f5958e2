import { describe, expect, test } from 'vitest';
import { Command, CommandFlag } from '../../../src/nbd/protocol.ts';
import { KIB, MIB, makeExport } from '../../export/fixture.ts';
import { TestClient } from './transmission-fixture.ts';

const PAGE = 4 * KIB;
const { BLOCK_STATUS } = Command;
const { REQ_ONE } = CommandFlag;

describe('BLOCK_STATUS', () => {
  /** A disk whose every other page is a hole. */
  function striped(): TestClient {
    const parts = makeExport({ sizeBytes: 32 * MIB });
    const { storage } = parts;
    storage.extent = async (offset, length) => {
      const left = PAGE - (offset % PAGE);
      return { length: Math.min(length, left), isHole: Math.floor(offset / PAGE) % 2 === 1 };
    };
    return new TestClient({ parts });
  }

  test('tells holes from data', async () => {
    const client = striped();
    const [answer] = await client.ask({ command: BLOCK_STATUS, offset: 100, length: 3 * PAGE });
    expect(answer?.extents.get(1)).toEqual([
      { length: PAGE - 100, state: 0 },
      { length: PAGE, state: 3 },
      { length: PAGE, state: 0 },
      { length: 100, state: 3 },
    ]);
  });

  test('gives one extent where one is asked for', async () => {
    const client = striped();
    const [answer] = await client.ask({
      command: BLOCK_STATUS,
      flags: REQ_ONE,
      offset: PAGE + 1,
      length: MIB,
    });
    expect(answer?.extents.get(1)).toEqual([{ length: PAGE - 1, state: 3 }]);
  });

  test('stops after many extents, for the client to ask on', async () => {
    const client = striped();
    const [answer] = await client.ask({ command: BLOCK_STATUS, length: 32 * MIB });
    expect(answer?.extents.get(1)?.length).toBe(2048);
  });

  test('tells for each context that was selected what it is about', async () => {
    const parts = makeExport();
    const states = [
      { isHole: false, isZero: false, isAllocated: true, depth: 1 },
      { isHole: true, isZero: true, isAllocated: true, depth: 0 },
      { isHole: true, isZero: true, isAllocated: false, depth: 1 },
      { isHole: true, isZero: true, isAllocated: false, depth: 1 },
    ];
    parts.target.image.extent = async (offset) => {
      const state = states[offset / PAGE];
      if (state === undefined) throw new Error('nobody asked so far');
      return { length: PAGE, isCompressed: false, ...state };
    };
    const client = new TestClient({ parts, contextIds: [1, 2] });
    const [answer] = await client.ask({ command: BLOCK_STATUS, length: 4 * PAGE });
    expect(answer?.extents.get(1)).toEqual([
      { length: PAGE, state: 0 },
      { length: 3 * PAGE, state: 3 },
    ]);
    expect(answer?.extents.get(2)).toEqual([
      { length: PAGE, state: 2 },
      { length: PAGE, state: 1 },
      { length: 2 * PAGE, state: 0 },
    ]);
    expect(answer?.chunks.length).toBe(2);
  });

  test('joins equal neighbours', async () => {
    const client = striped();
    client.parts.storage.extent = async (_, length) => ({
      length: Math.min(512, length),
      isHole: true,
    });
    const [answer] = await client.ask({ command: BLOCK_STATUS, length: MIB });
    expect(answer?.extents.get(1)).toEqual([{ length: MIB, state: 3 }]);
  });
});
