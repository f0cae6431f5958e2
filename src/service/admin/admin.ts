/** The administrative server of a service: its metrics and controls, made of the service's parts. */

import { ClientPools } from '../../admin/pools/client-pools.ts';
import { AdminServer, type AdminServerOptions } from '../../admin/server.ts';
import { packageVersion } from '../../lib/package-version.ts';
import { Metrics } from '../../metrics/metrics.ts';
import type {
  AdvisorSource,
  CopySource,
  ExportSource,
  ImageSource,
  MetricsSources,
  OverflowSource,
} from '../../metrics/sources.ts';
import { NbdErrno } from '../../nbd/protocol.ts';
import { COMMAND_NAMES, LATENCY_BOUNDS_SECONDS } from '../../nbd/statistics.ts';
import type { LoaderStatistics } from '../../snapshot/loader.ts';
import { PUT_OUTCOME_NAMES } from '../../tmem/layer.ts';
import { type ControlledParts, ServiceControls } from './controls.ts';
import { ProcessReadings } from './process-readings.ts';

/** The parts of a service, and how its administrative server is to be. */
export type AdminOptions = ControlledParts &
  Pick<AdminServerOptions, 'token' | 'log' | 'timeouts' | 'bodyBytesMax'> & {
    /** The longest page that the layers hold. */
    readonly pageBytesMax: number;
    /** Beside the exports themselves; default none. */
    readonly images?: {
      readonly bases: () => readonly Pick<ExportSource, 'cache'>[];
      readonly all: () => readonly ImageSource[];
      readonly copies: () => readonly CopySource[];
    };
    readonly overflows?: readonly OverflowSource[];
    /** What became of the pages of the last snapshot. */
    readonly loaded?: (() => Readonly<LoaderStatistics> | undefined) | undefined;
  };

/** Reports of the exports; those that one scrape asks for are made once. */
function reports(advisors: AdminOptions['advisors']): MetricsSources['advisors'] {
  const made = new Map<string, AdvisorSource | undefined>();
  return (exportName) => {
    // All of a scrape is read in one turn of the event loop.
    if (made.size === 0) setImmediate(() => made.clear());
    if (!made.has(exportName)) made.set(exportName, advisors?.reportOf(exportName));
    return made.get(exportName);
  };
}

/** Makes the server; it does not listen yet. Throws `usage` for a token that cannot be one. */
export function createAdminServer(options: AdminOptions): AdminServer {
  const { tmem, exports, server, codecName, isStopping, governor } = options;
  const memory = {
    limitBytes: options.memory.limitBytes,
    // Of its own requests the server can only be asked when it is there.
    bufferBytes: (): number => options.memory.bufferBytes() + admin.bufferBytes,
  };
  const clientPools = new ClientPools(tmem, options.pageBytesMax, () => controls.fitFloor());
  const controls = new ServiceControls({ ...options, memory }, clientPools);
  const readings = new ProcessReadings();
  const metrics = new Metrics({
    build: { version: packageVersion(), node: process.versions.node, codec: codecName },
    layers: tmem.layers,
    exports,
    bases: () => options.images?.bases() ?? [],
    images: () => options.images?.all() ?? [],
    copies: () => options.images?.copies() ?? [],
    advisors: reports(options.advisors),
    server,
    memory: {
      bufferBytes: memory.bufferBytes,
      get limitBytes() {
        return controls.memoryLimitBytes;
      },
    },
    accounts: () => tmem.accounts,
    governor: () => governor.state,
    overflows: options.overflows ?? [],
    snapshot: () => options.loaded?.(),
    recording: () => options.recordings.totals,
    process: () => readings.read(),
    vocabulary: {
      putOutcomes: PUT_OUTCOME_NAMES,
      commands: COMMAND_NAMES,
      errnos: NbdErrno,
      latencyBoundsSeconds: LATENCY_BOUNDS_SECONDS,
    },
  });
  const admin = new AdminServer({
    metrics: {
      contentType: metrics.contentType,
      scrape: async () => {
        await readings.measureLag();
        return metrics.scrape();
      },
    },
    controls,
    clientPools,
    isStopping,
    bodyBytesMax: options.bodyBytesMax,
    token: options.token,
    log: options.log,
    ...(options.timeouts === undefined ? {} : { timeouts: options.timeouts }),
  });
  return admin;
}
