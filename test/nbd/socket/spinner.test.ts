import { describe, expect, test } from 'vitest';
import { Spinner } from '../../../src/nbd/socket/spinner.ts';

const MICROSECOND = 1e-6;

/** A spinner on a clock that moves by hand; `turn` lets the event loop go round. */
function spinnerOf(budgetMicroseconds: number) {
  let time = 100;
  let reads = 0;
  const spinner = new Spinner(budgetMicroseconds, () => {
    reads++;
    return time;
  });
  return {
    spinner,
    pass: (microseconds: number) => {
      time += microseconds * MICROSECOND;
    },
    turn: () => new Promise((resolve) => setImmediate(resolve)),
    /** Whether it looked at the clock in the next turns: it does so in every turn of a spin. */
    isSpinning: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      const before = reads;
      await new Promise((resolve) => setImmediate(resolve));
      return reads > before;
    },
  };
}

test('a spinner stays awake for its budget after a request, and no longer', async () => {
  const { spinner, pass, isSpinning } = spinnerOf(50);
  expect(await isSpinning()).toBe(false);
  spinner.note();
  expect(await isSpinning()).toBe(true);
  pass(49);
  expect(await isSpinning()).toBe(true);
  pass(2);
  await isSpinning();
  expect(await isSpinning()).toBe(false);
  expect([spinner.paid, spinner.inVain]).toEqual([0, 1]);
});

test('a request in the middle prolongs a spin, and pays for it', async () => {
  const { spinner, pass, isSpinning } = spinnerOf(50);
  spinner.note();
  for (let i = 0; i < 10; i++) {
    pass(40);
    spinner.note();
    expect(await isSpinning()).toBe(true);
  }
  pass(60);
  await isSpinning();
  expect(await isSpinning()).toBe(false);
  expect([spinner.paid, spinner.inVain]).toEqual([1, 0]);
});

test('a reply prolongs a spin, and begins one, but pays for none', async () => {
  const { spinner, pass, isSpinning } = spinnerOf(50);
  spinner.noteReply();
  pass(40);
  spinner.noteReply();
  pass(40);
  expect(await isSpinning()).toBe(true);
  pass(20);
  await isSpinning();
  expect([spinner.paid, spinner.inVain]).toEqual([0, 1]);
  spinner.noteReply(); // not yet: the last one did not pay
  expect(await isSpinning()).toBe(false);
});

describe('a spin after a lone request that waits for an image', () => {
  /** Requests that took so long are over; one more has begun to wait. */
  function waiting(microseconds: number, budget = 50) {
    const parts = spinnerOf(budget);
    for (let i = 0; i < 80; i++) {
      parts.spinner.noteWait();
      parts.spinner.noteWaitEnd(microseconds * MICROSECOND);
    }
    parts.spinner.note();
    parts.spinner.noteWait();
    return parts;
  }

  test.each([
    ['one budget, when it is over at once', 5, 50],
    ['twice as long as waiting took of late', 80, 160],
    ['four budgets', 150, 200],
    ['one budget, when waiting took longer than four', 250, 50],
  ])('lasts %s', async (_what, microseconds, awake) => {
    const { pass, isSpinning } = waiting(microseconds);
    pass(awake - 1);
    expect(await isSpinning()).toBe(true);
    pass(2);
    await isSpinning();
    expect(await isSpinning()).toBe(false);
  });

  test('lasts a millisecond at most, whatever the budget', async () => {
    const { pass, isSpinning } = waiting(900, 700);
    pass(999);
    expect(await isSpinning()).toBe(true);
    pass(2);
    await isSpinning();
    expect(await isSpinning()).toBe(false);
  });

  test('lasts one budget when another one waits', async () => {
    const { spinner, pass, isSpinning } = waiting(80);
    spinner.note();
    spinner.noteWait();
    pass(51);
    await isSpinning();
    expect(await isSpinning()).toBe(false);
    spinner.noteWaitEnd(80 * MICROSECOND);
    spinner.noteWaitEnd(80 * MICROSECOND);
  });
});

describe('where spinning does not pay', () => {
  /** Requests that each come long after the last; answers after which of them it spun. */
  async function lonelyRequests(count: number) {
    const { spinner, pass, turn } = spinnerOf(50);
    const spins: number[] = [];
    for (let i = 1; i <= count; i++) {
      const before = spinner.inVain;
      spinner.note();
      pass(1000);
      await turn();
      await turn();
      if (spinner.inVain > before) spins.push(i);
    }
    return { spins, spinner };
  }

  test('it is tried ever more seldom', async () => {
    const { spins } = await lonelyRequests(40);
    expect(spins).toEqual([1, 4, 9, 18, 35]);
  });

  test('it is tried at least once in 257 requests', async () => {
    const { spins } = await lonelyRequests(3000);
    const gaps = spins.slice(1).map((spin, i) => spin - (spins[i] ?? 0));
    expect(Math.max(...gaps)).toBe(257);
  });
});

test('one spin that pays ends the reluctance', async () => {
  const { spinner, pass, turn } = spinnerOf(50);
  spinner.note();
  pass(100);
  await turn(); // in vain: the next two requests are let pass
  for (let i = 0; i < 3; i++) spinner.note();
  spinner.note();
  pass(100);
  await turn();
  expect([spinner.paid, spinner.inVain]).toEqual([1, 1]);
  spinner.note();
  pass(100);
  await turn(); // in vain again: it is the next two, not more
  expect(spinner.inVain).toBe(2);
  for (let i = 0; i < 3; i++) spinner.note();
  pass(100);
  await turn();
  expect(spinner.inVain).toBe(3);
});

test('with no budget it never spins', async () => {
  const { spinner, isSpinning } = spinnerOf(0);
  spinner.note();
  spinner.noteReply();
  expect(await isSpinning()).toBe(false);
  expect([spinner.paid, spinner.inVain]).toEqual([0, 0]);
});

test('a spin that is stopped ends in the next turn', async () => {
  const { spinner, isSpinning, turn } = spinnerOf(50);
  spinner.note();
  expect(await isSpinning()).toBe(true);
  spinner.stop();
  await turn();
  expect(await isSpinning()).toBe(false);
});

describe('in every turn of a spin', () => {
  function pollerOf() {
    const poller = {
      pollCount: 0,
      leaveCount: 0,
      poll: () => {
        poller.pollCount++;
      },
      leave: () => {
        poller.leaveCount++;
      },
    };
    return poller;
  }

  test('16 are asked, and told when it is over; a place that becomes free is for another', async () => {
    const { spinner, pass, turn } = spinnerOf(50);
    const pollers = Array.from({ length: 18 }, pollerOf);
    expect(pollers.some((each) => spinner.join(each))).toBe(false);
    spinner.note();
    expect(pollers.map((each) => spinner.join(each))).toEqual(pollers.map((_, i) => i < 16));
    await turn();
    // Who has no place gives none back.
    for (const each of [pollers[3], pollers[16], pollers[17]]) if (each) spinner.forget(each);
    expect(pollers.slice(16).map((each) => spinner.join(each))).toEqual([true, false]);
    pass(60);
    await turn();
    const pollCounts: number[] = pollers.map((_, i) => (i < 16 ? 2 : 0));
    pollCounts[3] = pollCounts[16] = 1;
    expect(pollers.map((each) => each.pollCount)).toEqual(pollCounts);
    const leaveCounts = pollers.map(() => 1);
    leaveCounts[3] = leaveCounts[17] = 0;
    expect(pollers.map((each) => each.leaveCount)).toEqual(leaveCounts);
  });

  test('one that goes when it is asked keeps none of the others from being asked', async () => {
    const { spinner, turn } = spinnerOf(50);
    const pollers = Array.from({ length: 3 }, pollerOf);
    for (const each of pollers) {
      each.poll = () => {
        each.pollCount++;
        spinner.forget(each);
      };
    }
    spinner.note();
    for (const each of pollers) spinner.join(each);
    await turn();
    await turn();
    expect(pollers.map((each) => each.pollCount)).toEqual([1, 1, 1]);
  });
});
