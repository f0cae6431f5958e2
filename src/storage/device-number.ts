/** Device numbers as Linux writes them in `st_dev` and `st_rdev`, and as /proc and /sys show them. */

/** The major and minor numbers that makedev(3) packed into one. */
export function deviceNumbers(device: bigint): { major: bigint; minor: bigint } {
  return {
    major: ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n),
    minor: (device & 0xffn) | ((device >> 12n) & 0xffffff00n),
  };
}
