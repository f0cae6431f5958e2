import { expect, onTestFinished, test, vi } from 'vitest';
import { TmemError } from '../../../src/lib/errors.ts';
import { Driver } from '../../../src/replay/live/driver.ts';
import type { LiveVolume } from '../../../src/replay/live/volume.ts';
import { OP, RequestBatch } from '../../../src/trace/request-batch.ts';

/** A volume whose server takes everything and answers nothing. */
function silentVolume(): LiveVolume {
  let waitingCount = 0;
  const connection = {
    ...{ host: undefined, hasRoom: true, flush: () => undefined },
    add: () => waitingCount++,
    get waitingCount() {
      return waitingCount;
    },
  };
  const volume = { offset: 0, length: 4096, connections: [connection] };
  const answers = { supports: () => true, place: () => false, pieceBytesMax: () => 4096 };
  return { ...volume, ...answers, connection: () => connection } as unknown as LiveVolume;
}

function silentDriver(speed: number | undefined): Driver {
  return new Driver({
    volumes: new Map([[0, silentVolume()]]),
    allowsWrites: false,
    speed,
    firstTimeUs: 0,
  });
}

function readsAt(...timesUs: readonly number[]): RequestBatch {
  const batch = new RequestBatch();
  for (const timeUs of timesUs) batch.push(timeUs, 0, 4096, 0, OP.read, 0, 0);
  return batch;
}

test('silence counts from the first request, however long the trace was looked at before', async () => {
  const now = vi.spyOn(performance, 'now').mockReturnValue(1e6);
  onTestFinished(() => now.mockRestore());
  const driver = silentDriver(undefined);
  await driver.send(readsAt(0));
  const drained = expect(driver.drain()).rejects.toThrow(/answered nothing for 60 s \(after 1 req/);
  const failed = vi.spyOn(driver, 'fail');
  now.mockReturnValue(1e6 + 59_999);
  driver.lookForSilence();
  expect(failed).not.toHaveBeenCalled();
  now.mockReturnValue(1e6 + 60_000);
  driver.lookForSilence();
  await drained;
});

test('a request that is due in months is waited for as timers can', async () => {
  const timers = vi.spyOn(globalThis, 'setTimeout');
  onTestFinished(() => timers.mockRestore());
  const driver = silentDriver(0.1);
  const sent = expect(driver.send(readsAt(0, 30 * 86_400e6))).rejects.toThrow('enough');
  driver.fail(new TmemError('shutdown', 'enough'));
  await sent;
  expect(timers.mock.calls.map(([, ms]) => ms)).toEqual([2 ** 31 - 1]);
});
