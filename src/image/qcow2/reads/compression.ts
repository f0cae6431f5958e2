/** Clusters in and out of their compressed form: raw deflate, or zstd. */

import { constants, deflateRaw, inflateRaw } from 'node:zlib';
import { compressZstd, decompressZstd } from './zstd.ts';

/** Turns whole clusters into fewer bytes and back. */
export interface ClusterCodec {
  readonly name: 'deflate' | 'zstd';
  compress(cluster: Buffer): Promise<Buffer>;
  /**
   * Fills `cluster` from `stored`, behind whose end of data there may be other bytes. Rejects when
   * that does not give exactly one cluster.
   */
  decompress(stored: Buffer, cluster: Buffer): Promise<void>;
}

/**
 * 4 KiB: what readers may take for granted. Any window is decoded, up to the 32 KiB that there can
 * be, but some readers inflate in pieces with no more than this.
 */
const DEFLATE_WINDOW_BITS = 12;
const INFLATE_WINDOW_BITS = 15;

/** Raw deflate, on the threads of libuv. */
export const deflateCodec: ClusterCodec = {
  name: 'deflate',

  compress(cluster) {
    return new Promise((resolve, reject) => {
      const options = { windowBits: DEFLATE_WINDOW_BITS, memLevel: 9 };
      deflateRaw(cluster, options, (error, result) => (error ? reject(error) : resolve(result)));
    });
  },

  decompress(stored, cluster) {
    return new Promise((resolve, reject) => {
      const options = {
        windowBits: INFLATE_WINDOW_BITS,
        chunkSize: cluster.length,
        maxOutputLength: cluster.length,
        finishFlush: constants.Z_SYNC_FLUSH,
      };
      inflateRaw(stored, options, (error, result) => {
        if (error !== null) {
          const isMore = 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
          const why = `more than ${cluster.length} bytes came out`;
          reject(isMore ? new RangeError(why, { cause: error }) : error);
        } else if (result.length !== cluster.length) {
          reject(new RangeError(`${result.length} bytes came out, not ${cluster.length}`));
        } else {
          result.copy(cluster);
          resolve();
        }
      });
    });
  },
};

/** Zstandard, on the calling thread. */
export const zstdCodec: ClusterCodec = {
  name: 'zstd',
  compress: compressZstd,
  decompress: decompressZstd,
};
