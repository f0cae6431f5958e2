/** Where a status goes: a terminal that is redrawn, blocks of text one after the other, or JSON. */

import type { TmemError } from '../../lib/errors.ts';
import { type Changes, changesBetween, type Sample } from '../admin/status-changes.ts';
import { type CliContext, tell } from '../command/context.ts';
import { colourPaint, type Paint, plainPaint } from '../terminal/line.ts';
import { drawing, ENTER_SCREEN, LEAVE_SCREEN, type Terminal } from '../terminal/screen.ts';
import { formatStatus } from './view.ts';

/** What is told of every look at the service. */
export interface StatusOutput {
  show(sample: Sample): void;
  /** The look failed; another one follows. */
  lose(error: TmemError): void;
  /** No more follows. May be called again, for one who cannot know whether it was. */
  end(): void;
}

/** Colours for a terminal that has them and a person who wants them; https://no-color.org. */
export function paintFor(context: CliContext): Paint {
  const { NO_COLOR: isUnwanted = '', TERM: kind } = context.env;
  const hasColours = context.terminal !== undefined && kind !== 'dumb' && isUnwanted === '';
  return hasColours ? colourPaint : plainPaint;
}

/** One line of JSON for each status. */
export class JsonOutput implements StatusOutput {
  readonly #context: CliContext;
  readonly #complaints: Complaints;

  constructor(context: CliContext) {
    this.#context = context;
    this.#complaints = new Complaints(context);
  }

  show({ status }: Sample): void {
    this.#complaints.settle();
    this.#context.stdout(`${JSON.stringify(status)}\n`);
  }

  lose(error: TmemError): void {
    this.#complaints.complain(error);
  }

  end(): void {}
}

/** A block of text for each status, parted by empty lines. */
export class BlockOutput implements StatusOutput {
  readonly #context: CliContext;
  readonly #place: string;
  readonly #complaints: Complaints;
  #last: Sample | undefined;

  constructor(context: CliContext, place: string) {
    this.#context = context;
    this.#place = place;
    this.#complaints = new Complaints(context);
  }

  show(sample: Sample): void {
    this.#complaints.settle();
    const text = formatStatus(sample.status, {
      place: this.#place,
      columns: this.#context.terminal?.size().columns ?? Number.POSITIVE_INFINITY,
      paint: paintFor(this.#context),
      changes: this.#last === undefined ? undefined : changesBetween(this.#last, sample),
    });
    this.#context.stdout(this.#last === undefined ? text : `\n${text}`);
    this.#last = sample;
  }

  lose(error: TmemError): void {
    this.#complaints.complain(error);
  }

  end(): void {}
}

/** Says once that the service was lost, however often it is looked for, and that it is back. */
class Complaints {
  readonly #context: CliContext;
  #said = '';

  constructor(context: CliContext) {
    this.#context = context;
  }

  complain({ message }: TmemError): void {
    if (message === this.#said) return;
    tell(this.#context, `${message}; trying again`);
    this.#said = message;
  }

  settle(): void {
    if (this.#said !== '') this.#context.stderr('tmem: the service is back\n');
    this.#said = '';
  }
}

/** The whole terminal, drawn anew with every status and whenever its size changes. */
export class ScreenOutput implements StatusOutput {
  readonly #context: CliContext;
  readonly #terminal: Terminal;
  readonly #place: string;
  readonly #forgetResize: () => void;
  #last: Sample | undefined;
  #changes: Changes | undefined;
  #trouble: string | undefined;
  #hasEnded = false;

  /** Takes the terminal at once; `end` must be called, whatever happens. */
  constructor(context: CliContext, terminal: Terminal, place: string) {
    this.#context = context;
    this.#terminal = terminal;
    this.#place = place;
    context.stdout(ENTER_SCREEN);
    this.#forgetResize = terminal.onResize(() => this.#draw());
  }

  show(sample: Sample): void {
    this.#changes = this.#last === undefined ? undefined : changesBetween(this.#last, sample);
    this.#last = sample;
    this.#trouble = undefined;
    this.#draw();
  }

  lose({ message }: TmemError): void {
    this.#trouble = `trying again: ${message}`;
    this.#draw();
  }

  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#forgetResize();
    this.#context.stdout(LEAVE_SCREEN);
  }

  #draw(): void {
    if (this.#last === undefined || this.#hasEnded) return;
    const { columns, rows } = this.#terminal.size();
    const text = formatStatus(this.#last.status, {
      place: this.#place,
      columns,
      paint: paintFor(this.#context),
      changes: this.#changes,
      trouble: this.#trouble,
    });
    this.#context.stdout(drawing(text, rows));
  }
}
