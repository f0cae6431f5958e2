/** Writes a configuration as the YAML that loads back to the same configuration. */

import { stringify } from 'yaml';
import { formatListenAddress } from '../lib/listen-address.ts';
import { exactSize } from '../lib/sizes.ts';
import type {
  EffectiveConfig,
  EffectiveExport,
  EffectiveOpening,
  EffectiveRamDisk,
  EffectiveShare,
  EffectiveSwap,
} from './effective.ts';
import { NO_ADMIN, type RequestedConfig } from './schema.ts';
import { formatFraction } from './values.ts';

/** The configuration as a file that says everything, defaults included. */
export function formatConfig(config: EffectiveConfig): string {
  const content: Record<keyof RequestedConfig, unknown> = {
    exports: config.exports.map(formatExport),
    swap: config.swaps.map(formatSwap),
    ram: config.ramDisks.map(formatRamDisk),
    mode: config.mode,
    ...formatOpening(config.opening),
    allowBacking: config.allowBacking,
    dirtyLimit: sizeOf(config.dirtyLimitBytes),
    drainTimeout: config.drainSeconds,
    snapshot: config.snapshotPath,
    record: config.record.path,
    recordDir: config.record.directory,
    recordLimit: sizeOf(config.record.limitBytes),
    recordSample: formatFraction(config.record.sampleRate),
    governor: config.hasGovernor,
    advisor: config.hasAdvisor,
    tokenFile: config.tokenFile,
    memory: sizeOf(config.memoryBytes),
    hot: formatFraction(config.hotFraction),
    policy: config.policy,
    listen: config.listen.map(formatListenAddress),
    admin: config.admin === undefined ? NO_ADMIN : formatListenAddress(config.admin),
    spin: config.spinMicroseconds,
    buffered: config.isBuffered,
    io: config.io,
    codec: config.codec,
    pageSize: sizeOf(config.pageBytes),
    maxConnections: config.maxConnections,
    handshakeTimeoutMs: config.handshakeTimeoutMs,
  };
  return stringify(content, { lineWidth: 0, keepUndefined: false });
}

function formatExport({ name, path, mode, opening, share }: EffectiveExport) {
  return { name, path, mode, ...formatOpening(opening), ...formatShare(share) };
}

function formatOpening({ copyBase, ...opening }: EffectiveOpening) {
  return { ...opening, copyBase: copyBase === undefined ? undefined : sizeOf(copyBase) };
}

function formatRamDisk({ name, sizeBytes }: EffectiveRamDisk) {
  return { name, size: sizeOf(sizeBytes) };
}

function formatSwap({ name, sizeBytes, overflowPath, share }: EffectiveSwap) {
  return { name, size: sizeOf(sizeBytes), overflow: overflowPath, ...formatShare(share) };
}

function formatShare({ weight, capBytes, minimumBytes }: EffectiveShare) {
  const cap = capBytes === undefined ? undefined : sizeOf(capBytes);
  return { weight, cap, minimum: sizeOf(minimumBytes) };
}

/** A size as in the manual, or a plain number where no suffix says it exactly. */
function sizeOf(bytes: number): string | number {
  return bytes % 1024 === 0 && bytes > 0 ? exactSize(bytes) : bytes;
}
