/** New QED images. */

import { TmemError } from '../../lib/errors.ts';
import { roundUp } from '../../lib/round-up.ts';
import { parseSize } from '../../lib/sizes.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { CreateOptions, ImageReference } from '../format.ts';
import {
  CLUSTER_BYTES_MAX,
  CLUSTER_BYTES_MIN,
  encodeQedHeader,
  FEATURE,
  QED_HEADER_BYTES,
  TABLE_CLUSTERS_MAX,
  virtualSizeMax,
} from './header.ts';

const CLUSTER_BYTES_DEFAULT = 64 * 1024;
const TABLE_CLUSTERS_DEFAULT = 4;

/**
 * Settings are `cluster_size` in bytes and `table_size` in clusters. The size is rounded up to 512
 * bytes. Of a backing file's format only raw can be stored.
 */
export async function createQed(storage: ResizableStorage, options: CreateOptions): Promise<void> {
  const { cluster_size, table_size, ...unknown } = options.settings;
  const [name] = Object.keys(unknown);
  if (name !== undefined) refuse(`qed has no setting "${name}"; it has cluster_size, table_size`);
  if (options.passphrase !== undefined) refuse('qed images are not enciphered; leave it out');
  const clusterBytes = powerOfTwo(
    'cluster_size',
    cluster_size === undefined ? CLUSTER_BYTES_DEFAULT : parseSize(cluster_size),
    CLUSTER_BYTES_MIN,
    CLUSTER_BYTES_MAX,
  );
  const tableClusters = powerOfTwo(
    'table_size',
    table_size === undefined ? TABLE_CLUSTERS_DEFAULT : parseSize(table_size),
    1,
    TABLE_CLUSTERS_MAX,
  );
  const virtualSizeBytes = roundUp(options.sizeBytes, 512);
  const max = virtualSizeMax({ clusterBytes, tableClusters });
  if (virtualSizeBytes > max) {
    refuse(`a qed image of that geometry has at most ${max} bytes; choose larger clusters`);
  }
  const header = encodeQedHeader({
    clusterBytes,
    tableClusters,
    headerClusters: 1,
    features: featuresFor(options.backing),
    hasAutoclear: false,
    l1Offset: clusterBytes,
    virtualSizeBytes,
    backingName: options.backing?.name,
  });
  if (header.length > clusterBytes || header.length > QED_HEADER_BYTES + 1023) {
    refuse('the name of the backing file is too long; use one of at most 1023 bytes');
  }
  // The tables first: a header names what is there.
  const tablesEnd = clusterBytes * (1 + tableClusters);
  await storage.resize(tablesEnd);
  await storage.writeZeroes(0, tablesEnd, false);
  await storage.write(header, 0, header.length, 0);
  await storage.sync();
}

function featuresFor(backing: ImageReference | undefined): number {
  if (backing === undefined) return 0;
  return FEATURE.backingFile | (backing.formatName === 'raw' ? FEATURE.backingIsRaw : 0);
}

function powerOfTwo(setting: string, value: number, min: number, max: number): number {
  if (value >= min && value <= max && (value & (value - 1)) === 0) return value;
  return refuse(`${setting} is ${value}, and must be a power of two from ${min} to ${max}`);
}

function refuse(why: string): never {
  throw new TmemError('usage', why);
}
