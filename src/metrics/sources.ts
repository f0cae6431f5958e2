/**
 * What metrics are read from: the plain-field counters of the parts of a service, as they are, and
 * the words for what the parts only number. The parts themselves know nothing of metrics.
 */

import type { ReadStatistics } from '../export/reads/page-reads.ts';
import type { WriteBackStatistics } from '../export/writes/write-back.ts';
import type { WriterStatistics } from '../export/writes/writer.ts';
import type { OperationCounters } from '../image/data/operation-counters.ts';
import type { TableStatistics } from '../image/tables/table-cache.ts';
import type { ServerStatistics } from '../nbd/statistics.ts';
import type { LoaderStatistics } from '../snapshot/loader.ts';
import type { LayerStatistics, LayerUsage } from '../tmem/layer.ts';

/** One layer of the stack. */
export interface LayerSource {
  readonly name: string;
  readonly statistics: LayerStatistics;
  usage(): LayerUsage;
}

/** One export, its cache and its image. */
export interface ExportSource {
  /** Unique among the exports. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly mode: string;
  readonly pageBytes: number;
  /** Only where writes are written back. */
  readonly writeBack: WriteBackSource | undefined;
  readonly reads: {
    readonly statistics: Readonly<ReadStatistics>;
    readonly readAhead: { readonly usedPages: number; readonly wastedPages: number };
  };
  readonly image: { readonly counters: Readonly<Record<string, OperationCounters>> };
  /** Exports of one read-only image have one cache, and so one pool, in common. */
  readonly cache: {
    readonly hits: number;
    readonly misses: number;
    readonly pool: { readonly id: number };
  };
}

/** An image, or one that others are based on. */
export interface ImageSource {
  /** Its path; unique. */
  readonly name: string;
  readonly formatName: string;
  /** The pool of the pages that it holds. */
  readonly poolId: number;
  readonly reads: number;
  /** Undefined for a format without a cache of tables. */
  readonly tables: Readonly<TableStatistics> | undefined;
}

/** How far the copy of an export's base is. */
export interface CopySource {
  readonly exportName: string;
  readonly doneBytes: number;
}

/** What an export that is written back does. */
export interface WriteBackSource {
  readonly tier: {
    readonly table: {
      readonly count: number;
      readonly troubledCount: number;
      readonly lostCount: number;
      readonly metadataBytes: number;
    };
  };
  readonly limitPages: number;
  readonly writer: { readonly statistics: Readonly<WriterStatistics> };
  readonly statistics: Readonly<WriteBackStatistics>;
}

/** The overflow file of a swap device. */
export interface OverflowSource {
  /** The export's. */
  readonly name: string;
  readonly liveBytes: number;
  readonly deadBytes: number;
  readonly capacityBytes: number;
  readonly metadataBytes: number;
  readonly statistics: {
    readonly recordsWritten: number;
    readonly cleanedRecords: number;
    readonly checksumFailures: number;
  };
}

/** What the governor of the memory is at. */
export interface GovernorReading {
  readonly targetBytes: number;
  readonly cuts: Readonly<Record<string, number>>;
  readonly shrunkBytes: number;
  readonly isStuck: boolean;
}

/** What was recorded of clients' requests, over all recordings since the start. */
export interface RecordSource {
  readonly isRecording: boolean;
  readonly requests: number;
  readonly dropped: number;
  readonly bytes: number;
}

/** What the operating system and the runtime say of this process. */
export interface ProcessReading {
  readonly residentBytes: number;
  readonly heapUsedBytes: number;
  /** Memory outside the heap that objects on it own: slabs, tables and buffers among it. */
  readonly externalBytes: number;
  /** Of all threads, user and system, since the start. */
  readonly cpuSeconds: number;
  /** Since the epoch. */
  readonly startTimeSeconds: number;
  /** Time the event loop was busy, and time it slept, since the start. */
  readonly loopActiveSeconds: number;
  readonly loopIdleSeconds: number;
  /** How long one whole turn of the event loop took just now. */
  readonly loopLagSeconds: number;
}

/** What would be missed: a share of the pages read, and the bounds of its error band. */
interface MissRatioSource {
  readonly missRatio: number;
  readonly low: number;
  readonly high: number;
}

/** What a policy would miss with so many times the memory. */
export interface EstimateSource extends MissRatioSource {
  readonly memory: number;
  readonly policy: string;
  readonly bytes: number;
}

/** What is known of other memory for an export. */
export interface AdvisorSource {
  readonly sampledPages: number;
  readonly sampledReads: number;
  readonly footprintPages: number;
  readonly gap: number;
  /** No two are of the same memory and policy. */
  readonly sizes: readonly EstimateSource[];
  readonly others: readonly EstimateSource[];
  readonly curve: readonly (MissRatioSource & { readonly pages: number })[];
}

/** Words for what the sources number. */
interface Vocabulary {
  /** By put outcome; all but `stored` and `replaced` are reasons of a refusal. */
  readonly putOutcomes: readonly string[];
  /** By NBD command, as in `ServerStatistics.latencies`. */
  readonly commands: readonly string[];
  /** NBD's error numbers by name. */
  readonly errnos: Readonly<Record<string, number>>;
  /** Upper bounds of the latency buckets; one more bucket has none. */
  readonly latencyBoundsSeconds: readonly number[];
}

/** Everything that a service's metrics are read from, at the time of a scrape. */
export interface MetricsSources {
  readonly build: { readonly version: string; readonly node: string; readonly codec: string };
  readonly layers: readonly LayerSource[];
  readonly exports: readonly ExportSource[];
  /** Caches of images that exports are based on. */
  readonly bases: () => readonly Pick<ExportSource, 'cache'>[];
  readonly images: () => readonly ImageSource[];
  readonly copies: () => readonly CopySource[];
  /** By the name of an export; undefined where nobody advises. */
  readonly advisors: (exportName: string) => AdvisorSource | undefined;
  readonly server: ServerStatistics;
  readonly memory: { readonly limitBytes: number; readonly bufferBytes: () => number };
  readonly accounts: () => Iterable<{ readonly name: string; readonly usedBytes: number }>;
  readonly governor: () => GovernorReading;
  readonly overflows: readonly OverflowSource[];
  /** Undefined where none is kept. */
  readonly snapshot: () => Readonly<LoaderStatistics> | undefined;
  readonly recording: () => RecordSource;
  readonly process: () => ProcessReading;
  readonly vocabulary: Vocabulary;
}
