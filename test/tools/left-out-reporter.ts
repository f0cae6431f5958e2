/** Says at the end which tests were left out for want of a program, and how to get it. */

import type { Reporter, TestCase, TestModule } from 'vitest/node';
import { INSTALL_ADVICE, LEFT_OUT } from './programs.ts';

/** The programs that kept a test from running, out of the note that it was skipped with. */
function missingFor(test: TestCase): string[] {
  const result = test.result();
  const note = result.state === 'skipped' ? (result.note ?? '') : '';
  return note.startsWith(LEFT_OUT) ? note.slice(LEFT_OUT.length).split(', ') : [];
}

export default class LeftOutReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const programs = new Set<string>();
    const files = new Set<string>();
    let count = 0;
    for (const module of modules) {
      for (const test of module.children.allTests('skipped')) {
        const missing = missingFor(test);
        if (missing.length === 0) continue;
        count++;
        files.add(module.relativeModuleId);
        for (const program of missing) programs.add(program);
      }
    }
    if (count === 0) return;
    const names = [...programs].sort().join(', ');
    const where = [...files].sort().join(', ');
    console.log(`Left out: ${count} tests in ${where}, for want of ${names}; ${INSTALL_ADVICE}.\n`);
  }
}
