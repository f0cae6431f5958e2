/** `tmem serve`: from the command line to a running service, and to its end. */

import { resolve } from 'node:path';
import { availableMemory } from '../../config/available-memory.ts';
import {
  type EffectiveConfig,
  type EffectiveOpening,
  resolveConfig,
  type Surroundings,
} from '../../config/effective.ts';
import { TmemError } from '../../lib/errors.ts';
import { inTime } from '../../lib/in-time.ts';
import type { InheritedAddress } from '../../lib/listen-address.ts';
import { packageVersion } from '../../lib/package-version.ts';
import type {
  ExportSettings,
  OpeningSettings,
  RunningService,
  ServiceLog,
  ServiceSettings,
  StartService,
} from '../../service/settings.ts';
import { shareThreads } from '../../storage/io-places.ts';
import { choosePositionedIo, positionedIo } from '../../storage/positioned-io.ts';
import { THREAD_IO } from '../../storage/thread-io.ts';
import { readToken } from '../admin/options.ts';
import { printsAbout } from '../command/about.ts';
import { type ParsedArguments, parseArguments } from '../command/arguments.ts';
import { type CliContext, fullPath, tell } from '../command/context.ts';
import { EXIT_DONE, EXIT_FAILED } from '../command/exit-codes.ts';
import { Passphrases } from '../command/passphrase.ts';
import { aborted } from '../command/stop-signals.ts';
import { DrawnLine, progressBar } from '../terminal/progress-line.ts';
import { demoImagePath, ensureDemoImage } from './demo-image.ts';
import { requestOf, SERVE_HELP, SERVE_OPTIONS, type ServeOption } from './options.ts';
import { takeInheritedSockets } from './socket-activation.ts';
import { jsonReport, nextSteps, textReport } from './startup-report.ts';

const DEMO_EXPORT_NAME = 'demo';

/** A log that nobody reads any more keeps a service that has stopped for so long, milliseconds. */
const PRINT_MS_MAX = 5_000;

type ServeArguments = ParsedArguments<ServeOption>;

function settingsOf(
  config: EffectiveConfig,
  { token, exports }: Pick<ServiceSettings, 'token' | 'exports'>,
  inherited: readonly InheritedAddress[],
): ServiceSettings {
  return {
    memoryBytes: config.memoryBytes,
    hotFraction: config.hotFraction,
    policyName: config.policy,
    pageBytes: config.pageBytes,
    exports,
    swaps: config.swaps,
    ramDisks: config.ramDisks,
    allowBacking: config.allowBacking,
    dirtyLimitBytes: config.dirtyLimitBytes,
    drainMsMax: config.drainSeconds * 1000,
    snapshotPath: config.snapshotPath,
    record: canRecord(config) ? config.record : undefined,
    hasGovernor: config.hasGovernor,
    hasAdvisor: config.hasAdvisor,
    token,
    listen: inherited.length > 0 ? inherited : config.listen,
    admin: config.admin,
    codec: config.codec,
    spinMicroseconds: config.spinMicroseconds,
    wantsDirect: !config.isBuffered,
    maxConnections: config.maxConnections,
    handshakeTimeoutMs: config.handshakeTimeoutMs,
  };
}

function canRecord({ record }: EffectiveConfig): boolean {
  return record.path !== undefined || record.directory !== undefined;
}

/** Says that the image is made, where it has to be, and on a terminal how far it is. */
async function makeDemoImage(
  path: string,
  context: CliContext,
  signal: AbortSignal,
): Promise<void> {
  const line = new DrawnLine(context);
  const onProgress = (fraction: number): void => {
    if (fraction === 0) tell(context, `making the demonstration image ${path}`);
    const percent = `  ${Math.floor(fraction * 100)} %`;
    if (context.isTerminal) line.draw([...progressBar(fraction), percent]);
  };
  try {
    await ensureDemoImage({ path, signal, onProgress });
  } finally {
    line.clear();
  }
}

async function demoExport(
  config: EffectiveConfig,
  context: CliContext,
  signal: AbortSignal,
): Promise<ExportSettings> {
  const path = demoImagePath(context.env);
  await makeDemoImage(path, context, signal);
  const share = { weight: 100, capBytes: undefined, minimumBytes: 0 };
  const opening = openingOf({ ...config.opening, format: 'raw' }, new Passphrases());
  return { name: DEMO_EXPORT_NAME, path, mode: config.mode, opening, share };
}

/** The same, with what is in the user's file in the place of its path. */
function openingOf(
  { passphraseFile, copyBase: copyBytesPerSecond, ...opening }: EffectiveOpening,
  passphrases: Passphrases,
): OpeningSettings {
  const passphrase = passphraseFile === undefined ? undefined : passphrases.of(passphraseFile);
  return { ...opening, passphrase, copyBytesPerSecond };
}

function exportsOf(named: EffectiveConfig['exports']): ExportSettings[] {
  const passphrases = new Passphrases();
  return named.map((each) => ({ ...each, opening: openingOf(each.opening, passphrases) }));
}

function logTo(context: CliContext, isVerbose: boolean): ServiceLog {
  return {
    info: (message) => {
      if (isVerbose) tell(context, message);
    },
    warn: (message) => tell(context, message),
  };
}

/** Prints what is served. Under activation stdout is the parent's, so stderr and only if asked. */
function announce(
  running: RunningService,
  parsed: ServeArguments,
  context: CliContext,
  situation: { readonly isActivated: boolean; readonly isDemo: boolean },
): void {
  if (situation.isActivated && !parsed.has('verbose')) return;
  const version = packageVersion();
  const text = parsed.has('json')
    ? jsonReport(running, version)
    : textReport(running, version) + (situation.isDemo ? nextSteps(running) : '');
  if (situation.isActivated) context.stderr(text);
  else context.stdout(text);
}

/** Serves until a signal says stop. */
async function runService(
  config: EffectiveConfig,
  parsed: ServeArguments,
  context: CliContext,
  inherited: readonly InheritedAddress[],
  start: StartService,
): Promise<number> {
  const { exports: named, swaps, ramDisks, tokenFile } = config;
  // Secrets may come from a pipe: as long as nobody listens to signals, they end who waits for it.
  const token = tokenFile === undefined ? undefined : readToken(tokenFile);
  const images = exportsOf(named);
  const stops = context.watchStopSignals();
  const log = logTo(context, parsed.has('verbose'));
  let running: RunningService | undefined;
  stops.onSecond((exitCode) => {
    running?.abort();
    context.exit(exitCode);
  });
  try {
    const isDemo = named.length + swaps.length + ramDisks.length === 0;
    const exports = isDemo ? [await demoExport(config, context, stops.first)] : images;
    if (config.io === 'threads') choosePositionedIo(THREAD_IO);
    shareThreads(process.env.UV_THREADPOOL_SIZE ?? '4');
    await context.prepareExit();
    running = await start(settingsOf(config, { token, exports }, inherited), { log });
    log.info(`images are read and written through ${(await positionedIo()).name}`);
    announce(running, parsed, context, { isActivated: inherited.length > 0, isDemo });
    await aborted(stops.first);
    log.info('stopping; once more to stop at once');
    const code = await stopGently(running, log);
    const isOut = await inTime(context.printed(), PRINT_MS_MAX, 'the log').then(
      () => true,
      () => false,
    );
    // What it waits for was given up, and told where somebody listens.
    if (!isOut || context.isInSystemCall()) context.exit(code);
    return code;
  } catch (error) {
    running?.abort();
    // Asked to stop before there was anything to stop: that is what was asked for.
    if (stops.first.aborted && error instanceof TmemError && error.kind === 'shutdown') {
      return EXIT_DONE;
    }
    throw error;
  } finally {
    stops.dispose();
  }
}

async function stopGently(running: RunningService, log: ServiceLog): Promise<number> {
  try {
    await running.stop();
    return EXIT_DONE;
  } catch (error) {
    if (!(error instanceof TmemError)) throw error;
    log.warn(error.message);
    return EXIT_FAILED;
  }
}

/** Loaded only when it is needed: `--help` should not wait for native code. */
const startRealService: StartService = async (settings, options) => {
  const { startService } = await import('../../service/service.ts');
  return startService(settings, options);
};

/** The configuration that applies. What reads YAML is loaded only when there is a file. */
async function configOf(
  parsed: ServeArguments,
  context: CliContext,
  around: Surroundings,
): Promise<EffectiveConfig> {
  const path = parsed.last('config');
  if (path === undefined) return resolveConfig({}, requestOf(parsed, context), around);
  const { loadConfig, whereItIsSet } = await import('../../config/load.ts');
  const file = loadConfig(resolve(fullPath(path, context)));
  const options = requestOf(parsed, context);
  try {
    return resolveConfig(file.config, options, around);
  } catch (error) {
    throw whereItIsSet(error, file, options);
  }
}

/** Runs `tmem serve`; `start` is replaced in tests. */
export async function serve(
  args: readonly string[],
  context: CliContext,
  start: StartService = startRealService,
): Promise<number> {
  const parsed = parseArguments(args, SERVE_OPTIONS, 'tmem serve');
  if (printsAbout(parsed, SERVE_HELP, context)) return EXIT_DONE;
  const inherited = takeInheritedSockets(context.env, context.pid);
  const around = { memory: availableMemory(), isActivated: inherited.length > 0 };
  const config = await configOf(parsed, context, around);
  if (parsed.has('print-config')) {
    const { formatConfig } = await import('../../config/print.ts');
    context.stdout(formatConfig(config));
    return EXIT_DONE;
  }
  return runService(config, parsed, context, inherited, start);
}
