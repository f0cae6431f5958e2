/** New images of qcow's first version. */

import { TmemError } from '../../lib/errors.ts';
import { roundUp } from '../../lib/round-up.ts';
import { parseSize } from '../../lib/sizes.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import { ENTRY_BYTES } from '../appended/layout.ts';
import type { CreateOptions } from '../format.ts';
import { encodeQcowHeader, L1_BYTES_MAX, QCOW_HEADER_BYTES } from './header.ts';

/**
 * The one setting is `cluster_size`: 4 KiB unless there is a backing file, and 512 bytes then, of
 * which no write can be a part. The size is rounded up to 512 bytes.
 */
export async function createQcow(storage: ResizableStorage, options: CreateOptions): Promise<void> {
  const { cluster_size, ...unknown } = options.settings;
  const [name] = Object.keys(unknown);
  if (name !== undefined) refuse(`qcow has no setting "${name}"; it has cluster_size`);
  if (options.passphrase !== undefined) {
    refuse('enciphered qcow images are only read; use qcow2 with encryption');
  }
  const backingName = options.backing?.name;
  const clusterBytes =
    cluster_size === undefined ? (backingName === undefined ? 4096 : 512) : parseSize(cluster_size);
  const clusterBits = Math.log2(clusterBytes);
  if (!Number.isInteger(clusterBits) || clusterBits < 9 || clusterBits > 16) {
    refuse(`cluster_size is ${clusterBytes}, and must be a power of two from 512 to 65536`);
  }
  // A table of a cluster, or of 32 KiB where that would be tiny, as qemu-img has it.
  const l2Bits = clusterBits === 9 ? 12 : Math.min(13, clusterBits - 3);
  const virtualSizeBytes = roundUp(options.sizeBytes, 512);
  if (virtualSizeBytes === 0) refuse('a qcow image cannot be empty; give a size');
  const l1Bytes = Math.ceil(virtualSizeBytes / 2 ** (clusterBits + l2Bits)) * ENTRY_BYTES;
  if (l1Bytes > L1_BYTES_MAX || !Number.isSafeInteger(virtualSizeBytes)) {
    refuse(
      `${virtualSizeBytes} bytes are too many for clusters of ${clusterBytes}; choose larger ones`,
    );
  }
  const nameBytes = Buffer.byteLength(backingName ?? '');
  if (nameBytes > 1023) refuse('the name of the backing file is longer than 1023 bytes');
  const l1Offset = Math.ceil((QCOW_HEADER_BYTES + nameBytes) / ENTRY_BYTES) * ENTRY_BYTES;
  const header = { virtualSizeBytes, clusterBits, l2Bits, l1Offset, backingName };
  const raw = encodeQcowHeader(header);
  // The table first: a header names what is there.
  await storage.resize(l1Offset + l1Bytes);
  await storage.writeZeroes(0, l1Offset + l1Bytes, false);
  await storage.write(raw, 0, raw.length, 0);
  await storage.sync();
}

function refuse(why: string): never {
  throw new TmemError('usage', why);
}
