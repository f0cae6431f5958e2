/** Makes the paths in a request absolute, so that they mean the same wherever they are printed. */

import { resolve } from 'node:path';
import { checkUnixPath, type ListenAddress } from '../lib/listen-address.ts';
import type { RequestedConfig } from './schema.ts';

function withAbsolutePath<Address extends ListenAddress>(
  address: Address,
  directory: string,
): Address {
  if (address.kind !== 'unix') return address;
  const path = resolve(directory, address.path);
  checkUnixPath(path);
  return { ...address, path };
}

/** The same request with every relative path resolved against `directory`. */
export function withAbsolutePaths(request: RequestedConfig, directory: string): RequestedConfig {
  const { exports, swap, listen, admin, snapshot, tokenFile, passphraseFile, allowBacking } =
    request;
  const { record, recordDir } = request;
  return {
    ...request,
    ...(exports && {
      exports: exports.map((each) => ({
        ...each,
        path: resolve(directory, each.path),
        ...(each.passphraseFile !== undefined && {
          passphraseFile: resolve(directory, each.passphraseFile),
        }),
      })),
    }),
    ...(swap && {
      swap: swap.map(({ overflow, ...each }) =>
        overflow === undefined ? each : { ...each, overflow: resolve(directory, overflow) },
      ),
    }),
    ...(snapshot !== undefined && { snapshot: resolve(directory, snapshot) }),
    ...(record !== undefined && { record: resolve(directory, record) }),
    ...(recordDir !== undefined && { recordDir: resolve(directory, recordDir) }),
    ...(tokenFile !== undefined && { tokenFile: resolve(directory, tokenFile) }),
    ...(passphraseFile !== undefined && { passphraseFile: resolve(directory, passphraseFile) }),
    ...(allowBacking && { allowBacking: allowBacking.map((each) => resolve(directory, each)) }),
    ...(listen && { listen: listen.map((each) => withAbsolutePath(each, directory)) }),
    ...(admin && admin !== 'none' && { admin: withAbsolutePath(admin, directory) }),
  };
}
