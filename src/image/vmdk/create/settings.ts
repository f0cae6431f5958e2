/** What can be asked of a new VMDK, under the names of `qemu-img create -o`. */

import { TmemError } from '../../../lib/errors.ts';
import type { CreateOptions, ImageReference } from '../../format.ts';
import { NO_PARENT_CID } from '../structures/descriptor.ts';

const SUBFORMATS = [
  ...(['monolithicSparse', 'streamOptimized', 'monolithicFlat'] as const),
  ...(['twoGbMaxExtentSparse', 'twoGbMaxExtentFlat'] as const),
] as const;
const ADAPTER_TYPES = ['ide', 'lsilogic', 'buslogic', 'legacyESX'] as const;

export interface VmdkSettings {
  readonly subformat: (typeof SUBFORMATS)[number];
  readonly adapterType: (typeof ADAPTER_TYPES)[number];
  /** Of the virtual machine. */
  readonly hardwareVersion: string;
  readonly toolsVersion: string;
  readonly zeroedGrain: boolean;
}

const NAMES = [
  ...['subformat', 'adapter_type', 'hwversion', 'toolsversion', 'zeroed_grain', 'compat6'],
];

/** The settings, or a usage error that names the first that cannot be. */
export function parseCreateSettings(options: CreateOptions): VmdkSettings {
  const { settings, backing, passphrase } = options;
  for (const name of Object.keys(settings)) {
    if (NAMES.includes(name)) continue;
    throw usage(`there is no setting "${name}"`, `choose from ${NAMES.join(', ')}`);
  }
  if (passphrase !== undefined) {
    throw usage('it cannot be enciphered', 'leave the passphrase away, or choose qcow2');
  }
  const subformat = oneOf(settings, 'subformat', SUBFORMATS);
  const isCompat6 = isOn(settings, 'compat6');
  if (isCompat6 && settings.hwversion !== undefined) {
    throw usage('compat6 is a hwversion as well', 'give one of the two');
  }
  const parsed: VmdkSettings = {
    subformat,
    adapterType: oneOf(settings, 'adapter_type', ADAPTER_TYPES),
    hardwareVersion: numberOf(settings, 'hwversion') ?? (isCompat6 ? '6' : '4'),
    toolsVersion: numberOf(settings, 'toolsversion') ?? '2147483647',
    zeroedGrain: isOn(settings, 'zeroed_grain'),
  };
  const isSparse = subformat === 'monolithicSparse' || subformat === 'twoGbMaxExtentSparse';
  if (parsed.zeroedGrain && !isSparse) {
    throw usage(`${subformat} has no zeroed_grain`, 'leave it away, or choose monolithicSparse');
  }
  if (backing === undefined) return parsed;
  if (!isSparse) {
    throw usage(`${subformat} cannot stand on another image`, 'choose monolithicSparse');
  }
  checkParent(backing);
  return parsed;
}

/** Throws a usage error, that `wish` cannot be done if it is given, for what no VMDK can stand on. */
export function checkParent({ formatName, name, parentCid }: ImageReference, wish?: string): void {
  if (formatName !== 'vmdk' || parentCid === undefined) {
    throw usage('its parent must be a vmdk as well', 'convert the parent, or choose qcow2', wish);
  }
  if (parentCid === NO_PARENT_CID) {
    throw usage(
      `the parent "${name}" has no content identifier`,
      'write to it once, and try again',
      wish,
    );
  }
  if (name === '' || Buffer.byteLength(name) > 1023 || /["\p{Cc}]/u.test(name)) {
    throw usage(`"${name}" cannot stand in a descriptor`, 'rename the parent', wish);
  }
}

function usage(cause: string, advice: string, wish?: string): TmemError {
  const what = wish === undefined ? cause : `cannot ${wish}: ${cause}`;
  return new TmemError('usage', `${what}; ${advice}`);
}

function oneOf<Name extends string>(
  settings: CreateOptions['settings'],
  setting: string,
  names: readonly [Name, ...Name[]],
): Name {
  const value = settings[setting];
  if (value === undefined) return names[0];
  const found = names.find((name) => name === value);
  if (found !== undefined) return found;
  throw usage(`${setting} cannot be "${value}"`, `choose from ${names.join(', ')}`);
}

function isOn(settings: CreateOptions['settings'], setting: string): boolean {
  const value = settings[setting];
  if (value === undefined || value === 'off' || value === 'false') return false;
  if (value === 'on' || value === 'true') return true;
  throw usage(`${setting} cannot be "${value}"`, 'say on or off');
}

function numberOf(settings: CreateOptions['settings'], setting: string): string | undefined {
  const value = settings[setting];
  if (value === undefined || /^\d{1,10}$/.test(value)) return value;
  throw usage(`${setting} cannot be "${value}"`, 'give a number');
}
