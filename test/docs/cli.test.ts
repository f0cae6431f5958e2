import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { CTL_HELP, VERBS, verbHelp } from '../../src/cli/ctl/ctl.ts';
import { imageHelp, imageVerbHelp, imageVerbs } from '../../src/cli/image/image.ts';
import { RECORD_HELP, RECORD_VERBS } from '../../src/cli/record.ts';
import { LIVE_HELP } from '../../src/cli/replay/live-options.ts';
import { REPLAY_HELP } from '../../src/cli/replay/replay-options.ts';
import { STATUS_HELP } from '../../src/cli/status/status.ts';
import { TRACE_HELP, TRACE_VERBS, traceVerbHelp } from '../../src/cli/trace/trace.ts';

const MANUAL = readFileSync(path.resolve(import.meta.dirname, '../../docs/cli.md'), 'utf8');

test('every verb of tmem ctl, record, trace and image is in the manual', async () => {
  expect(
    [...VERBS, ...TRACE_VERBS, ...(await imageVerbs())]
      .map(({ name }) => name)
      .concat(RECORD_VERBS)
      .filter((name) => !MANUAL.includes(`\`${name}`)),
  ).toEqual([]);
});

test('every option of status, ctl, record, trace, replay and image is in the manual, which names no other', async () => {
  const traceHelp = [TRACE_HELP, ...TRACE_VERBS.map(traceVerbHelp)];
  const verbs = await imageVerbs();
  const imageTexts = [imageHelp(verbs), ...verbs.map(imageVerbHelp)];
  const others = [
    STATUS_HELP,
    CTL_HELP,
    RECORD_HELP,
    REPLAY_HELP,
    LIVE_HELP,
    ...VERBS.map(verbHelp),
  ];
  const help = [...others, ...traceHelp, ...imageTexts].join('\n');
  const optionsIn = (text: string) => new Set(text.match(/(?<![\w-])--[a-z][a-z-]*/g));
  const recording = ['--record', '--record-dir', '--record-limit', '--record-sample'];
  const serve = ['--memory', '--snapshot', ...recording];
  expect([...optionsIn(MANUAL)].filter((option) => !serve.includes(option)).sort()).toEqual(
    [...optionsIn(help)].filter((option) => !serve.includes(option)).sort(),
  );
});
