/** The other side of `run-all.ts`: a thread that runs what it is told, one after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import type { FromWorker, ToWorker, WorkerSetup } from './run-all.ts';
import { simulate } from './simulate.ts';

const port = parentPort;
if (port === null) throw new Error('run-worker is started as a worker thread');
const { stream, nextUses } = workerData as WorkerSetup;

const send = (message: FromWorker): void => port.postMessage(message);

port.on('message', ({ index, run }: ToWorker) => {
  const onProgress = (doneRequests: number) => send({ kind: 'progress', index, doneRequests });
  try {
    const result = simulate(stream, run, { nextUses, onProgress });
    send({ kind: 'result', index, result });
  } catch (cause) {
    send({ kind: 'error', index, cause });
  }
});
