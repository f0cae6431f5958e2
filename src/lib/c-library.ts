/** The C library, called through the optional package koffi: for the system calls that Node lacks. */

import { endianness } from 'node:os';

type Koffi = typeof import('koffi')['default'];
type Library = ReturnType<Koffi['load']>;

export class CLibrary {
  /** Declares a function of the library, as koffi does. */
  readonly func: Library['func'];
  readonly #koffi: Koffi;
  readonly #addresses = new WeakMap<ArrayBufferLike, number>();

  constructor(koffi: Koffi) {
    const library = koffi.load('libc.so.6');
    this.func = library.func.bind(library);
    this.#koffi = koffi;
  }

  /** Addresses have 64 bits in the order of `lib/uint64.ts`: structures can be filled by hand. */
  get hasUsualLayout(): boolean {
    return this.#koffi.sizeof('void *') === 8 && endianness() === 'LE';
  }

  /** Of the last call on this thread, or in the callback of an asynchronous one. */
  errno(): number {
    return this.#koffi.errno();
  }

  /** Where the view begins; it stays there for as long as its memory is referenced. */
  addressOf({ buffer, byteOffset }: Uint8Array | Uint32Array): number {
    let address = this.#addresses.get(buffer);
    if (address === undefined) {
      address = Number(this.#koffi.address(new Uint8Array(buffer)));
      this.#addresses.set(buffer, address);
    }
    return address + byteOffset;
  }

  /** Memory that a call gave; undefined for the address -1, by which mmap(2) says that it failed. */
  memoryAt(pointer: unknown, bytes: number): ArrayBuffer | undefined {
    const address = BigInt.asIntN(64, BigInt(this.#koffi.address(pointer)));
    return address === -1n ? undefined : this.#koffi.view(pointer, bytes);
  }
}

/** What `bind` makes of the library; undefined where koffi or a library it can load is not installed. */
export async function bindCLibrary<Calls>(
  bind: (library: CLibrary) => Calls,
): Promise<Calls | undefined> {
  try {
    const { default: koffi } = await import('koffi');
    return bind(new CLibrary(koffi));
  } catch {
    return undefined;
  }
}
