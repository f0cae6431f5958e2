/** The version of this package. */

import { createRequire } from 'node:module';

/** The `version` of package.json, which lies two directories above this file, built or not. */
export function packageVersion(): string {
  const content: unknown = createRequire(import.meta.url)('../../package.json');
  if (typeof content === 'object' && content !== null && 'version' in content) {
    return String(content.version);
  }
  throw new Error('package.json has no version');
}
