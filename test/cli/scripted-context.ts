/** A process for commands under test: keeps what they print and lets the test send signals. */

import { EventEmitter } from 'node:events';
import type { CliContext } from '../../src/cli/command/context.ts';
import { watchStopSignals } from '../../src/cli/command/stop-signals.ts';
import type { Terminal } from '../../src/cli/terminal/screen.ts';
import type { RunningService, ServiceSettings, StartService } from '../../src/service/settings.ts';

export class ScriptedContext implements CliContext {
  readonly env: Record<string, string | undefined> = {};
  readonly directory = '/srv';
  readonly pid = 4711;
  readonly isTerminal: boolean = false;
  terminal: Terminal | undefined = undefined;
  readonly unreadController = new AbortController();
  readonly unread = this.unreadController.signal;
  readonly signals = new EventEmitter();
  readonly exitCodes: number[] = [];
  /** A thread waits for a disk that hangs. */
  isStuck = false;
  /** Whoever reads what is printed is done with it. */
  read: Promise<void> = Promise.resolve();
  out = '';
  err = '';

  stdout(text: string): void {
    this.out += text;
  }

  stderr(text: string): void {
    this.err += text;
  }

  printed(): Promise<void> {
    return this.read;
  }

  watchStopSignals() {
    return watchStopSignals(this.signals);
  }

  readonly isInSystemCall = () => this.isStuck;

  async prepareExit(): Promise<void> {}

  exit(code: number): void {
    this.exitCodes.push(code);
  }
}

/** A service that serves nothing; `log` says what was done to it. */
export class ScriptedService implements RunningService {
  readonly log: string[] = [];
  readonly exports = [
    {
      name: 'a b',
      sizeBytes: 1_610_612_736,
      mode: 'read-only' as const,
      uris: ['nbd://h:1/a%20b', 'nbd://h:1/'],
    },
  ];
  readonly metricsUrl = 'http://h:2/metrics';
  readonly codecDescription = 'lz4';
  readonly memoryLimitBytes = 1024 ** 3;
  settings: ServiceSettings | undefined;
  /** What `stop` waits for. */
  drained: Promise<void> = Promise.resolve();

  readonly start: StartService = async (settings) => {
    this.settings = settings;
    this.log.push('start');
    return this;
  };

  async stop(): Promise<void> {
    this.log.push('stop');
    await this.drained;
  }

  abort(): void {
    this.log.push('abort');
  }
}
