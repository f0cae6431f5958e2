import { defineConfig } from 'vitest/config';

const isCi = process.env.CI === 'true';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Many tests drive other programs, on a machine that may be busy: no limit here is a criterion.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Processes: the tests of a service that owns descriptors and native code share nothing.
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['default', './test/tools/left-out-reporter.ts', ...(isCi ? ['json'] : [])],
    outputFile: { json: 'build/test-results.json' },
  },
});
