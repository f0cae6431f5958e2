/** The version of this package. */

import { readFileSync } from 'node:fs';

/** The `version` of package.json, which lies two directories above this file, built or not. */
export function packageVersion(): string {
  const path = new URL('../../package.json', import.meta.url);
  const content: unknown = JSON.parse(readFileSync(path, 'utf8'));
  if (typeof content === 'object' && content !== null && 'version' in content) {
    return String(content.version);
  }
  throw new Error('package.json has no version');
}
