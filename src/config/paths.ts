/** Makes the paths in a request absolute, so that they mean the same wherever they are printed. */

import { checkUnixPath, type ListenAddress } from '../lib/listen-address.ts';
import type { RequestedConfig } from './schema.ts';

/** A path as one from the root, which many are already. */
type FullPath = (path: string) => string;

function withAbsolutePath<Address extends ListenAddress>(
  address: Address,
  fullPath: FullPath,
): Address {
  if (address.kind !== 'unix') return address;
  const path = fullPath(address.path);
  checkUnixPath(path);
  return { ...address, path };
}

/** The same request with `fullPath` of every path in it. */
export function withAbsolutePaths(request: RequestedConfig, fullPath: FullPath): RequestedConfig {
  const { exports, swap, listen, admin, snapshot, tokenFile, passphraseFile, allowBacking } =
    request;
  const { record, recordDir } = request;
  return {
    ...request,
    ...(exports && {
      exports: exports.map((each) => ({
        ...each,
        path: fullPath(each.path),
        ...(each.passphraseFile !== undefined && {
          passphraseFile: fullPath(each.passphraseFile),
        }),
      })),
    }),
    ...(swap && {
      swap: swap.map(({ overflow, ...each }) =>
        overflow === undefined ? each : { ...each, overflow: fullPath(overflow) },
      ),
    }),
    ...(snapshot !== undefined && { snapshot: fullPath(snapshot) }),
    ...(record !== undefined && { record: fullPath(record) }),
    ...(recordDir !== undefined && { recordDir: fullPath(recordDir) }),
    ...(tokenFile !== undefined && { tokenFile: fullPath(tokenFile) }),
    ...(passphraseFile !== undefined && { passphraseFile: fullPath(passphraseFile) }),
    ...(allowBacking && { allowBacking: allowBacking.map((each) => fullPath(each)) }),
    ...(listen && { listen: listen.map((each) => withAbsolutePath(each, fullPath)) }),
    ...(admin && admin !== 'none' && { admin: withAbsolutePath(admin, fullPath) }),
  };
}
