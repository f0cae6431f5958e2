/** CSV with a header line that says what the columns are, as it is read again. */

import { OP_NAMES, type RequestBatch } from '../request-batch.ts';
import { checkTime, type Exporter, type ExportOptions } from './exporter.ts';
import { OutputBuffer, type OutputFile } from './output-file.ts';

const HEADER = 'time_us,volume,op,offset,length,latency_us,content_bytes\n';
const KEYS_HEADER = 'time_us,volume,op,key,obj_size\n';
/** No line is longer: six numbers and a name. */
const LINE_BYTES_MAX = 512;

/** A name that no reader of CSV can misunderstand. */
function cell(name: string): string {
  return name.replaceAll(/[",;\t\r\n]/g, '_').slice(0, 100);
}

export class CsvExporter implements Exporter {
  written = 0;
  readonly #options: ExportOptions;
  readonly #out: OutputBuffer;
  readonly #cells: string[] = [];

  constructor(file: OutputFile, options: ExportOptions) {
    this.#options = options;
    this.#out = new OutputBuffer(file);
    this.#add(options.unit === 'keys' ? KEYS_HEADER : HEADER);
  }

  async write(batch: RequestBatch): Promise<void> {
    for (let index = 0; index < batch.count; index++) {
      if (this.#out.room < LINE_BYTES_MAX) await this.#out.drain();
      this.#add(this.#lineOf(batch, index));
    }
    this.written += batch.count;
  }

  finish(): Promise<void> {
    return this.#out.drain();
  }

  #lineOf(batch: RequestBatch, index: number): string {
    checkTime(batch.timeUs[index]!);
    const volume = batch.volume[index]!;
    this.#cells[volume] ??= cell(this.#options.volumes()[volume] ?? '');
    // A tenth of a microsecond is what traces have; more would be the error of doubles.
    const time = Math.round(batch.timeUs[index]! * 10) / 10;
    const head = `${time},${this.#cells[volume]},${OP_NAMES[batch.op[index]!]},${batch.offset[index]}`;
    const content = batch.contentBytes[index];
    if (this.#options.unit === 'keys') return `${head},${content}\n`;
    return `${head},${batch.length[index]},${batch.latencyUs[index]},${content}\n`;
  }

  #add(text: string): void {
    this.#out.fill += this.#out.bytes.write(text, this.#out.fill);
  }
}
