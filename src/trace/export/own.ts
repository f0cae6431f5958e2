/** Our own format, from another trace. */

import { OwnTraceWriter } from '../own/writer.ts';
import type { RequestBatch } from '../request-batch.ts';
import { checkTime, type Exporter, type ExportOptions } from './exporter.ts';
import type { OutputFile } from './output-file.ts';

/** From 2001 on, microseconds since 1970: such times are of the wall clock. */
const WALL_CLOCK_US_MIN = 1e15;

export class OwnExporter implements Exporter {
  readonly #file: OutputFile;
  readonly #options: ExportOptions;
  #writer: OwnTraceWriter | undefined;
  #volumes = 0;
  /** What times in the file count from. */
  #startUs = 0;

  constructor(file: OutputFile, options: ExportOptions) {
    this.#file = file;
    this.#options = options;
  }

  get written(): number {
    return this.#writer?.requests ?? 0;
  }

  async write(batch: RequestBatch): Promise<void> {
    const writer = this.#writer ?? (await this.#start(batch.timeUs[0] ?? 0));
    const names = this.#options.volumes();
    for (; this.#volumes < names.length; this.#volumes++) {
      writer.addVolume(names[this.#volumes] ?? '');
    }
    for (let index = 0; index < batch.count; index++) {
      checkTime(batch.timeUs[index]!);
      if (!writer.hasRoom) await writer.room();
      writer.append(
        batch.timeUs[index]! - this.#startUs,
        batch.offset[index]!,
        batch.length[index]!,
        batch.volume[index]!,
        batch.op[index]!,
        0,
        batch.latencyUs[index]!,
        batch.contentBytes[index]!,
      );
      if (writer.failure !== undefined) throw writer.failure;
    }
  }

  async finish(): Promise<void> {
    const writer = this.#writer ?? (await this.#start(0));
    await writer.close();
  }

  async #start(firstTimeUs: number): Promise<OwnTraceWriter> {
    const { unit, hasClock, sourceHash, sampleRate, isMergedSample = false } = this.#options;
    checkTime(firstTimeUs);
    const isWallClock = hasClock && firstTimeUs >= WALL_CLOCK_US_MIN;
    this.#startUs = isWallClock ? Math.floor(firstTimeUs) : 0;
    const startUs = this.#startUs;
    this.#writer = new OwnTraceWriter(this.#file, {
      ...{ unit, hasClock, sourceHash, startUs, pieceBytes: 1024 * 1024 },
      ...{ sampleRate, isMergedSample, isSampled: true },
    });
    await this.#writer.start();
    return this.#writer;
  }
}
