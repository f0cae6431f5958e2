/** Recordings of a service without clients: a test plays them at the switch. */

import { Recording } from '../../../src/nbd/recording.ts';
import { Recordings } from '../../../src/service/recording/recordings.ts';
import type { RecordSettings } from '../../../src/service/settings.ts';

export interface RecordingsParts {
  readonly recordings: Recordings;
  readonly recording: Recording;
  /** What was told to everyone. */
  readonly warnings: string[];
}

/** Recordings to those places; none are possible unless some are given. */
export function recordingsTo(
  given?: Partial<RecordSettings>,
  exportNames = ['disk'],
): RecordingsParts {
  const places = { path: undefined, directory: undefined };
  const settings = given && { ...places, limitBytes: 1024 * 1024, sampleRate: 1, ...given };
  const recording = new Recording();
  const warnings: string[] = [];
  const log = { info: () => undefined, warn: (line: string) => void warnings.push(line) };
  const recordings = new Recordings({ settings, recording, exportNames, log });
  return { recordings, recording, warnings };
}
