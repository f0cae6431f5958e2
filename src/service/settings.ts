/** What the service is told at its start and what it tells back: the seam between it and the CLI. */

import type { WriteMode } from '../export/export.ts';
import type { FormatName } from '../image/format.ts';
import type { CodecChoice } from '../layers/codec.ts';
import type { ListenAddress } from '../lib/listen-address.ts';
import type { PolicyName } from '../policy/policies.ts';

/** What an export may take of the memory, all its pages together. */
export interface ShareSettings {
  /** 1 to 10,000. */
  readonly weight: number;
  /** Undefined for no cap. */
  readonly capBytes: number | undefined;
  readonly minimumBytes: number;
}

/** A device in compressed memory. */
export interface SwapSettings {
  readonly name: string;
  /** A multiple of 512. */
  readonly sizeBytes: number;
  /** Where pages go that memory has no room for; undefined for nowhere. Absolute. */
  readonly overflowPath: string | undefined;
  readonly share: ShareSettings;
}

/** One image and how it is offered. */
export interface ExportSettings {
  /** Unique; neither empty nor longer than NBD allows. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  readonly mode: WriteMode;
  readonly opening: OpeningSettings;
  readonly share: ShareSettings;
}

/** How an image is opened; undefined is what the image or its name says. */
export interface OpeningSettings {
  readonly format: FormatName | undefined;
  readonly backingFormat: FormatName | undefined;
  /** What opens it, read from the user's file; undefined when none was given. */
  readonly passphrase: Buffer | undefined;
  /** The internal snapshot that is served instead of the disk. */
  readonly loadSnapshot: string | undefined;
  /** How fast what is below the image is copied into it; undefined for not at all. */
  readonly copyBytesPerSecond: number | undefined;
}

/** A disk in memory that is lost with the service. */
export interface RamDiskSettings {
  readonly name: string;
  /** A multiple of 512. */
  readonly sizeBytes: number;
}

/** Where requests may be recorded, and how much of them. */
export interface RecordSettings {
  /** Recorded into from the start on; must not exist. Undefined for not. Absolute. */
  readonly path: string | undefined;
  /** Where recordings go that are begun later; undefined for beside `path`. Absolute. */
  readonly directory: string | undefined;
  /** What all recordings of the service may come to. */
  readonly limitBytes: number;
  /** The share of the pages whose requests are recorded, above 0 and up to 1. */
  readonly sampleRate: number;
}

/** Everything a service needs to know, fully resolved: no default is left to fill in. */
export interface ServiceSettings {
  /** What the stack may use altogether; at least 32 MiB. */
  readonly memoryBytes: number;
  /** The share of the memory that keeps pages as they are, 0 to 1. */
  readonly hotFraction: number;
  readonly policyName: PolicyName;
  /** A power of two, 4 KiB to 64 KiB. */
  readonly pageBytes: number;
  /** The first export, or else the first swap device or RAM disk, is the default export too; there is one. */
  readonly exports: readonly ExportSettings[];
  readonly swaps: readonly SwapSettings[];
  readonly ramDisks: readonly RamDiskSettings[];
  /** Directories whose files images may name, beside their own. Absolute. */
  readonly allowBacking: readonly string[];
  /** Bytes of pages that images may lack, all write-back exports together. */
  readonly dirtyLimitBytes: number;
  /** How long `stop` may take to write them, milliseconds. */
  readonly drainMsMax: number;
  /** Where clean pages are kept between runs; undefined for nowhere. Absolute. */
  readonly snapshotPath: string | undefined;
  /** Undefined where nothing can be recorded. */
  readonly record: RecordSettings | undefined;
  /** Give memory back when the machine or the cgroup is short of it. */
  readonly hasGovernor: boolean;
  /** Find out what other memory or another policy would do. */
  readonly hasAdvisor: boolean;
  /** What a client of the admin address must know; undefined where none is needed. */
  readonly token: string | undefined;
  /** At least one. */
  readonly listen: readonly ListenAddress[];
  /** Where metrics and health are served; undefined for nowhere. */
  readonly admin: ListenAddress | undefined;
  readonly codec: CodecChoice;
  /** How long the event loop stays awake after the last request; 0 for not at all. */
  readonly spinMicroseconds: number;
  /** Go past the page cache where the file system can. */
  readonly wantsDirect: boolean;
  readonly maxConnections: number;
  readonly handshakeTimeoutMs: number;
}

/** Where the service says what happens to it; one sentence per call, without a line end. */
export interface ServiceLog {
  /** For those who want to follow. */
  info(message: string): void;
  /** For everyone. */
  warn(message: string): void;
}

/** An export as it is being served. */
export interface RunningExport {
  readonly name: string;
  readonly sizeBytes: number;
  readonly mode: WriteMode;
  /** One per listening address; for the default export, its nameless form after each. */
  readonly uris: readonly string[];
}

/** A service that listens. */
export interface RunningService {
  readonly exports: readonly RunningExport[];
  readonly metricsUrl: string | undefined;
  readonly codecDescription: string;
  readonly memoryLimitBytes: number;
  /** Stops listening, answers what is in flight, syncs and closes. Resolves when all is closed. */
  stop(): Promise<void>;
  /** Drops every connection at once; for a user who will not wait for `stop`. */
  abort(): void;
}

/** The composition root's one function. Rejects with a TmemError when an image or address fails. */
export type StartService = (
  settings: ServiceSettings,
  options: { readonly log: ServiceLog },
) => Promise<RunningService>;
