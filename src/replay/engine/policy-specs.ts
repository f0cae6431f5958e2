/**
 * The policies that a simulation can run, by name and parameters. Those of the live cache do here
 * what their papers say: ghosts are exact, sweeps have no limit, and s3fifo-cw has neither the
 * least window nor the fallback to CLOCK that a small live cache has.
 */
import { refuse } from '../../lib/errors.ts';
import { arcFamily } from '../../policy/arc.ts';
import { beladyFamily, type Future } from '../../policy/belady.ts';
import { clockFamily } from '../../policy/clock.ts';
import { fifoFamily } from '../../policy/fifo.ts';
import { gdsfFamily } from '../../policy/gdsf.ts';
import { lirsFamily } from '../../policy/lirs.ts';
import { LruFamily } from '../../policy/lru.ts';
import { POLICY_NAMES, type PolicyName } from '../../policy/policies.ts';
import type { PolicyFamily, PolicyOptions } from '../../policy/policy.ts';
import { S3FIFO_TUNING, s3FifoFamily } from '../../policy/s3fifo.ts';
import { S3FifoCwFamily } from '../../policy/s3fifo-cw.ts';
import { sieveFamily } from '../../policy/sieve.ts';
import { slruFamily } from '../../policy/slru.ts';
import { twoQFamily } from '../../policy/two-q.ts';
import { wTinyLfuFamily } from '../../policy/w-tinylfu.ts';

/** Values by parameter; a yes or no is 1 or 0. */
export type PolicyParams = Readonly<Record<string, number>>;

interface Parameter {
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly isWhole?: boolean;
}

interface PolicyKind {
  readonly parameters: Readonly<Record<string, Parameter>>;
  readonly make: (options: PolicyOptions, params: PolicyParams, future: Future) => PolicyFamily;
}

const share = (value: number): Parameter => ({ value, min: 0, max: 1 });
const count = (value: number, min: number, max: number): Parameter => {
  return { value, min, max, isWhole: true };
};

const S3FIFO_PARAMETERS = { small: share(0.1), ghost: { value: 0.9, min: 0, max: 16 } };

function s3FifoTuning(params: PolicyParams) {
  const { small = 0, ghost = 0, threshold = 1, window = 0 } = params;
  return {
    ...S3FIFO_TUNING,
    smallShare: small,
    ghostShare: ghost,
    promoteAtHits: threshold,
    windowShare: window,
  };
}

const KINDS: Readonly<Record<string, PolicyKind>> = {
  's3fifo-cw': {
    parameters: { ...S3FIFO_PARAMETERS, threshold: count(1, 1, 3), window: share(0.25) },
    make: (options, params) => new S3FifoCwFamily(options, s3FifoTuning(params)),
  },
  s3fifo: {
    parameters: { ...S3FIFO_PARAMETERS, threshold: count(2, 1, 3) },
    make: (options, params) => s3FifoFamily(options, s3FifoTuning(params)),
  },
  lirs: {
    parameters: { hir: share(0.01), ghosts: { value: Infinity, min: 0, max: Infinity } },
    make: (options, { hir = 0, ghosts = 0 }) =>
      lirsFamily(options, { hirShare: hir, ghostsPerPageMax: ghosts }),
  },
  'w-tinylfu': {
    parameters: { window: share(0.01), protected: share(0.8), adaptive: count(1, 0, 1) },
    make: (options, { window = 0, protected: held = 0, adaptive }) =>
      wTinyLfuFamily(options, {
        windowShare: window,
        protectedShare: held,
        isAdaptive: adaptive === 1,
      }),
  },
  '2q': {
    parameters: { in: share(0.25), out: { value: 0.5, min: 0, max: 16 } },
    make: (options, params) =>
      twoQFamily(options, { inShare: params.in ?? 0, outShare: params.out ?? 0 }),
  },
  arc: { parameters: {}, make: (options) => arcFamily(options) },
  slru: {
    parameters: { segments: count(4, 2, 16) },
    make: (options, { segments = 4 }) => slruFamily(options, segments),
  },
  sieve: { parameters: {}, make: (options) => sieveFamily(options) },
  clock: {
    parameters: { bits: count(1, 1, 8) },
    make: (options, { bits = 1 }) => clockFamily(options, 2 ** bits - 1),
  },
  lru: { parameters: {}, make: (options) => new LruFamily(options) },
  fifo: { parameters: {}, make: (options) => fifoFamily(options) },
  gdsf: { parameters: {}, make: (options) => gdsfFamily(options) },
  belady: { parameters: {}, make: (options, _params, future) => beladyFamily(options, future) },
};

/** Other names of a policy with some of its parameters. */
const VARIANTS: ReadonlyMap<string, readonly [kind: string, PolicyParams]> = new Map([
  ['clock-2bit', ['clock', { bits: 2 }]],
  ['slru-4', ['slru', { segments: 4 }]],
  ['s3fifo-t1', ['s3fifo', { threshold: 1 }]],
  ['s3fifo-t2', ['s3fifo', { threshold: 2 }]],
]);

/** What may be asked for, the default of the live cache first; and variants by their short names. */
export const REPLAY_POLICY_NAMES: readonly string[] = [
  ...['s3fifo-cw', 's3fifo', 'lirs', 'w-tinylfu', '2q', 'arc', 'slru', 'sieve', 'clock-2bit'],
  ...['clock', 'lru', 'fifo', 'gdsf', 'belady'],
];

/** A policy of a simulation. */
export interface PolicySpec {
  readonly kind: string;
  /** All parameters, those not given at their defaults. */
  readonly params: PolicyParams;
  /** Whether it has to be told the future. */
  readonly needsFuture: boolean;
}

/** Reads `NAME` or `NAME:PARAMETER=VALUE,…`. Throws a usage error that lists what there is. */
export function parsePolicy(text: string): PolicySpec {
  const colon = text.indexOf(':');
  const name = colon < 0 ? text : text.slice(0, colon);
  const list = colon < 0 ? undefined : text.slice(colon + 1);
  const [kindName, variantParams] = VARIANTS.get(name) ?? [name, {}];
  const kind = Object.hasOwn(KINDS, kindName) ? KINDS[kindName] : undefined;
  if (kind === undefined) {
    refuse(`there is no policy "${name}" to replay; choose of ${REPLAY_POLICY_NAMES.join(', ')}`);
  }
  const given = { ...variantParams, ...readParams(text, list) };
  const all: Record<string, number> = {};
  for (const [key, { value }] of Object.entries(kind.parameters)) all[key] = value;
  for (const [key, value] of Object.entries(given)) {
    const parameter = Object.hasOwn(kind.parameters, key) ? kind.parameters[key] : undefined;
    if (parameter === undefined) {
      const names = Object.keys(kind.parameters).join(', ') || 'none';
      refuse(`the policy ${kindName} has no parameter "${key}"; it has ${names}`);
    }
    const { min, max, isWhole = false } = parameter;
    if (!(value >= min && value <= max && (!isWhole || Number.isInteger(value)))) {
      const what = isWhole ? 'a whole number' : 'a number';
      refuse(`${kindName}:${key}=${value} is out of range; choose ${what} from ${min} to ${max}`);
    }
    all[key] = value;
  }
  return { kind: kindName, params: all, needsFuture: kindName === 'belady' };
}

/** What a service calls the policy with that label; undefined: none has it, with its parameters. */
export function servicePolicyOf(label: string): PolicyName | undefined {
  const { kind, params } = parsePolicy(label);
  return POLICY_NAMES.find((name) => {
    const served = parsePolicy(name);
    const isSame = ([key, value]: [string, number]): boolean => params[key] === value;
    return served.kind === kind && Object.entries(served.params).every(isSame);
  });
}

/** Makes the family of a policy; `future` is asked by those that need it only. */
export function createFamily(
  spec: PolicySpec,
  options: PolicyOptions,
  future: Future,
): PolicyFamily {
  const kind = KINDS[spec.kind];
  if (kind === undefined) throw new Error(`policy kind ${spec.kind}`);
  return kind.make(options, spec.params, future);
}

function readParams(text: string, list: string | undefined): PolicyParams {
  const params: Record<string, number> = {};
  for (const part of list === undefined ? [] : list.split(',')) {
    const match = /^([a-z]+)=(\d*\.?\d+)$/.exec(part);
    if (match === null) {
      refuse(`"${text}" cannot be read; write NAME or NAME:PARAMETER=NUMBER,…, as clock:bits=2`);
    }
    params[match[1] ?? ''] = Number(match[2]);
  }
  return params;
}
