/** The control plane: what there is, and what can be done about it. */

import type { Controls } from './controls.ts';
import type { Call } from './http/call.ts';
import { Problem } from './http/problem.ts';
import { type Answer, ok, type Route } from './http/router.ts';
import type { ClientPools } from './pools/client-pools.ts';
import {
  drainRequest,
  memoryChange,
  recordRequest,
  shareChange,
  shrinkRequest,
} from './schemas.ts';

const MS_PER_SECOND = 1000;

/** Routes that only tell. */
export function tellingRoutes(controls: Controls): readonly Route[] {
  return [
    {
      ...get('/v1/status', 'getStatus', 'Everything there is to know at this moment.'),
      answer: { status: 200, says: 'The status.', schema: 'ServiceStatus' },
      handle: () => ok(controls.status()),
    },
    {
      ...get('/v1/layers', 'listLayers', 'The layers of the stack, from the top down.'),
      answer: { status: 200, says: 'The layers.', schema: 'LayerList' },
      handle: () => ok({ layers: controls.layers() }),
    },
    {
      ...get('/v1/exports', 'listExports', 'The exports.'),
      answer: { status: 200, says: 'The exports.', schema: 'ExportList' },
      handle: () => ok({ exports: controls.exports() }),
    },
    {
      ...get('/v1/exports/{name}', 'getExport', 'One export.'),
      answer: { status: 200, says: 'The export.', schema: 'ExportStatus' },
      problems: { 404: 'There is no export of that name.' },
      handle: (call) => ok(controls.export(call.text('name'))),
    },
    {
      ...get('/v1/pools', 'listPools', 'The pools, those of exports among them.'),
      answer: { status: 200, says: 'The pools.', schema: 'PoolList' },
      handle: () => ok({ pools: controls.pools() }),
    },
    {
      ...get('/v1/freeable', 'getFreeable', 'How much memory a shrink could give back.'),
      answer: { status: 200, says: 'The bytes.', schema: 'Freeable' },
      handle: () => ok({ freeableBytes: controls.freeableBytes() }),
    },
  ];
}

/** Routes that change how the service runs. */
export function changingRoutes(controls: Controls, pools: ClientPools): readonly Route[] {
  return [
    {
      ...post('/v1/freeze', 'freeze', 'Takes no new pages from now on.'),
      description: 'Pages that are held can still be read, replaced by newer ones, and flushed.',
      answer: { status: 200, says: 'It is frozen.', schema: 'Frozen' },
      handle: () => {
        controls.freeze();
        return ok({ isFrozen: true });
      },
    },
    {
      ...post('/v1/thaw', 'thaw', 'Takes new pages again.'),
      answer: { status: 200, says: 'It is not frozen.', schema: 'Frozen' },
      handle: () => {
        controls.thaw();
        return ok({ isFrozen: false });
      },
    },
    {
      ...control('PUT', '/v1/memory', 'setMemory', 'Changes what all memory may come to.'),
      body: { schema: 'MemoryChange' },
      answer: { status: 200, says: 'The memory as it is now.', schema: 'MemoryStatus' },
      handle: async (call) => {
        const { limitBytes } = await call.json(memoryChange);
        return ok(controls.setMemoryLimit(limitBytes));
      },
    },
    {
      ...post('/v1/shrink', 'shrink', 'Gives memory back; the limit stays.'),
      description: 'What comes afterwards may fill it again: freeze first, and thaw when done.',
      body: { schema: 'ShrinkRequest' },
      answer: {
        status: 200,
        says: 'What was given back; less if no more can be.',
        schema: 'Freed',
      },
      handle: async (call) => {
        const { bytes } = await call.json(shrinkRequest);
        return ok({ freedBytes: await call.takeLong(() => controls.shrink(bytes)) });
      },
    },
    {
      ...control('PUT', '/v1/exports/{name}/share', 'setExportShare', "Changes an export's share."),
      ...SHARE,
      handle: async (call) => {
        const change = await call.json(shareChange);
        return ok(controls.setExportShare(call.text('name'), change));
      },
    },
    {
      ...control('PUT', '/v1/pools/{id}/share', 'setPoolShare', "Changes a pool's share."),
      ...SHARE,
      handle: async (call) => {
        const change = await call.json(shareChange);
        return ok(controls.setPoolShare(call.number('id'), change));
      },
    },
    {
      ...post('/v1/exports/{name}/drain', 'drain', 'Waits until an export has no dirty page.'),
      body: { schema: 'DrainRequest', isOptional: true },
      answer: { status: 200, says: 'It is clean.', schema: 'Drained' },
      problems: {
        404: 'There is no export of that name.',
        501: 'It is a swap device, which has no image to be written to.',
        504: 'It was not clean in time; the document says how much is left.',
      },
      handle: (call) => drain(controls, call),
    },
    {
      ...post('/v1/exports/{name}/check', 'check', 'Checks the image while it is served.'),
      description: 'Nothing is repaired. It takes as long as reading all tables of the image.',
      answer: { status: 200, says: 'What was found.', schema: 'CheckReport' },
      problems: {
        404: 'There is no export of that name.',
        501: 'Its format can only be checked when it is not in use.',
      },
      handle: async (call) =>
        ok(await call.takeLong((signal) => controls.check(call.text('name'), signal))),
    },
    {
      ...post('/v1/snapshot', 'snapshot', 'Saves the clean pages, to begin with them next time.'),
      answer: { status: 200, says: 'What was saved.', schema: 'Snapshot' },
      problems: {
        501: 'This service has no place for a snapshot.',
        507: 'The disk of the snapshot is full.',
      },
      handle: async (call) => ok(await call.takeLong(() => controls.snapshot())),
    },
    ...recordRoutes(controls),
    ...grantRoutes(pools),
  ];
}

/** Recording what clients ask; where to is nothing that can be said here. */
function recordRoutes(controls: Controls): readonly Route[] {
  const path = '/v1/record';
  const answer = (says: string) => ({ status: 200, says, schema: 'RecordStatus' });
  return [
    {
      ...get(path, 'getRecord', 'The recording of requests that is under way, or the last.'),
      answer: answer('What is recorded.'),
      handle: () => ok(controls.recordStatus()),
    },
    {
      ...post(path, 'startRecord', 'Begins to record what clients ask, in a new file.'),
      description: 'The file goes where the service was told at its start, and has its own name.',
      body: { schema: 'RecordRequest', isOptional: true },
      answer: answer('It is being recorded.'),
      problems: {
        409: 'A recording is under way.',
        501: 'This service has no place for recordings.',
        507: 'Its recordings have come to what they may, or the disk is full.',
      },
      handle: async (call) => {
        const request = await call.optionalJson(recordRequest);
        return ok(await controls.startRecording(request));
      },
    },
    {
      ...control('DELETE', path, 'stopRecord', 'Ends the recording, if there is one.'),
      answer: answer('Nothing is recorded; the file is complete.'),
      handle: async () => ok(await controls.stopRecording()),
    },
  ];
}

function grantRoutes(pools: ClientPools): readonly Route[] {
  const path = '/v1/grants/{client}/{sharedName}';
  return [
    {
      ...control('PUT', path, 'grant', 'Lets a client share the pool of that name.'),
      description: 'The same grant again answers the same key.',
      answer: { status: 200, says: 'The grant, with the key that shows it.', schema: 'Grant' },
      problems: { 507: 'There are too many grants.' },
      handle: (call) => {
        const client = call.text('client');
        const sharedName = call.text('sharedName');
        return ok({ client, sharedName, key: pools.grant(client, sharedName) });
      },
    },
    {
      ...control('DELETE', path, 'revoke', 'Takes a grant back, and with it the pools it gave.'),
      answer: { status: 200, says: 'How many pools of the client went.', schema: 'Revoked' },
      problems: { 404: 'There is no such grant.' },
      handle: async (call) => {
        const client = call.text('client');
        return ok({ destroyedPools: await pools.revoke(client, call.text('sharedName')) });
      },
    },
  ];
}

const SHARE = {
  body: { schema: 'ShareChange' },
  answer: { status: 200, says: 'The share as it is now.', schema: 'ShareStatus' },
  problems: { 404: 'There is nothing of that name.' },
} as const;

async function drain(controls: Controls, call: Call): Promise<Answer> {
  const { timeoutSeconds } = await call.optionalJson(drainRequest);
  const status = await call.takeLong(
    (signal) => controls.drain(call.text('name'), signal),
    Math.ceil(timeoutSeconds * MS_PER_SECOND),
  );
  if (status.isClean) return ok(status);
  const detail =
    `${status.dirtyBytes} bytes are still dirty; have its clients pause, wait longer than ` +
    `${timeoutSeconds} s with timeoutSeconds, or see why in /v1/exports`;
  throw new Problem(504, detail, { members: { ...status } });
}

function get(path: string, operationId: string, summary: string) {
  return control('GET', path, operationId, summary);
}

function post(path: string, operationId: string, summary: string) {
  return control('POST', path, operationId, summary);
}

function control<Method extends Route['method']>(
  method: Method,
  path: string,
  operationId: string,
  summary: string,
) {
  return { method, path, operationId, summary, plane: 'control' as const };
}
