/** Every layer and every stack of layers that the suites run on. */

import { type CodecChoice, loadCodec } from '../../src/layers/codec.ts';
import { Hot } from '../../src/layers/hot.ts';
import { Zcache } from '../../src/layers/zcache.ts';
import type { ForgetMemory } from '../../src/lib/forget-memory.ts';
import { type PolicyName, policyFactoryFor } from '../../src/policy/policies.ts';
import type { Layer } from '../../src/tmem/layer.ts';
import type { Lender } from '../../src/tmem/lender.ts';

/** What a suite asks of the layers it tests. */
export interface CompositionOptions {
  /** Bytes that each full-sized layer may take. */
  readonly limitBytes: number;
  readonly pageBytesMax: number;
  /** Asked by every layer before it allocates. */
  readonly mayAllocate?: () => boolean;
  /** Hears of memory that goes back to the system. */
  readonly forget?: ForgetMemory | undefined;
}

/** Layers from the top down, and the one of them that lends. */
export interface Composition {
  readonly layers: readonly Layer[];
  readonly lender?: Lender;
}

export type MakeComposition = (options: CompositionOptions) => Composition;

/** Too little for a single slab: all that such a layer can hold are same-filled pages. */
const TINY_BYTES = 48 * 1024;

interface Choice {
  readonly codec?: CodecChoice;
  readonly policy?: PolicyName;
  readonly next?: Layer;
}

function zcache(options: CompositionOptions, choice: Choice = {}): Zcache {
  return new Zcache({
    ...options,
    codec: loadCodec(choice.codec ?? 'auto'),
    policy: policyFactoryFor(choice.policy ?? 's3fifo-cw'),
    ...(choice.next && { next: choice.next }),
  });
}

function hotOver(
  next: Zcache | Hot,
  options: CompositionOptions,
  promoteOneIn = 2,
  policyName: PolicyName = 's3fifo-cw',
): Composition {
  const hot = new Hot({ ...options, policy: policyFactoryFor(policyName), next, promoteOneIn });
  return { layers: [hot, next], lender: hot };
}

const refuseAll = (options: CompositionOptions): CompositionOptions => ({
  ...options,
  mayAllocate: () => false,
});
const tiny = (options: CompositionOptions): CompositionOptions => ({
  ...options,
  limitBytes: TINY_BYTES,
});

/** By what the tests call them. */
export const COMPOSITIONS: Readonly<Record<string, MakeComposition>> = {
  'zcache by s3fifo-cw and native lz4': (options) => ({
    layers: [zcache(options, { codec: 'lz4' })],
  }),
  'zcache by lru and lz4-napi': (options) => ({
    layers: [zcache(options, { codec: 'lz4-napi', policy: 'lru' })],
  }),
  'hot over zcache': (options) => hotOver(zcache(options), options),
  'hot over zcache, both by lru, without promotion': (options) =>
    hotOver(zcache(options, { policy: 'lru' }), options, 0, 'lru'),
  'hot that promotes every hit': (options) => hotOver(zcache(options), options, 1),
  'hot over a tiny zcache': (options) => hotOver(zcache(tiny(options)), options),
  'tiny hot over zcache': (options) => hotOver(zcache(options), tiny(options)),
  'hot over a layer that refuses everything': (options) =>
    hotOver(zcache(refuseAll(options)), options),
  'hot that refuses everything over zcache': (options) =>
    hotOver(zcache(options), refuseAll(options)),
  'zcache over zcache': (options) => {
    const next = zcache(options);
    return { layers: [zcache(options, { next }), next] };
  },
  'hot over zcache over zcache': (options) => {
    const last = zcache(options);
    const next = zcache(options, { next: last });
    const { layers, lender } = hotOver(next, options);
    return { layers: [...layers, last], ...(lender && { lender }) };
  },
};
