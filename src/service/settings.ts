/** What the service is told at its start and what it tells back: the seam between it and the CLI. */

import type { WriteMode } from '../export/export.ts';
import type { CodecChoice } from '../layers/codec.ts';
import type { ListenAddress } from '../lib/listen-address.ts';
import type { PolicyName } from '../policy/policies.ts';

/** What becomes of a client's writes. */
export type ExportMode = WriteMode;

/** One image and how it is offered. */
export interface ExportSettings {
  /** Unique; neither empty nor longer than NBD allows. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  readonly mode: ExportMode;
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
  /** At least one; the first is the default export too. */
  readonly exports: readonly ExportSettings[];
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
  readonly mode: ExportMode;
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
