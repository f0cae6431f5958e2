/** The most memory of one stack, bytes: locations have 20 bits for a slab of 256 KiB. */
export const STACK_BYTES_MAX = 128 * 1024 ** 3;
