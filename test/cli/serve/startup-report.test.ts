import { expect, test } from 'vitest';
import { nextSteps, textReport } from '../../../src/cli/serve/startup-report.ts';
import { ScriptedService } from '../scripted-context.ts';

test('nextSteps names the first export in every command for it', () => {
  const text = nextSteps(new ScriptedService());
  for (const tool of ['nbdinfo', 'nbdcopy', 'fio']) {
    expect(text).toMatch(new RegExp(`${tool}.*nbd://h:1/a%20b`));
  }
  expect(text).toContain('curl -s http://h:2/metrics');
  expect(text).toContain('file=nbd://h:1/disk.raw,format=raw');
});

test('nextSteps tells curl of a socket in the way that curl knows', () => {
  const service = new ScriptedService();
  const metricsUrl = 'http+unix://%2Frun%2Fmy%20tmem%2Fadmin/metrics';
  const text = nextSteps(Object.assign(service, { metricsUrl }));
  expect(text).toContain("  curl -s --unix-socket '/run/my tmem/admin' http://localhost/metrics\n");
});

test('textReport prints no name that would command the terminal', () => {
  const service = new ScriptedService();
  const exports = service.exports.map((each) => ({ ...each, name: 'a\u001b[2J\nb' }));
  const text = textReport(Object.assign(service, { exports }), '1');
  expect(text).toContain('export   a\ufffd[2J\ufffdb, 1.5GiB');
});
