/** Text in an encoding that a file names, the same in every version of Node. */

/** What the bytes 0x80 to 0x9f stand for. Source: index windows-1252, WHATWG Encoding Standard. */
const WINDOWS_1252 = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ';

/**
 * `bytes` in `encoding`, by one of the labels of the Encoding Standard. Throws for a label that is
 * unknown, and for bytes that are no text in it. Node 20 takes windows-1252 for ISO 8859-1, where
 * dashes, quotation marks and the euro are control characters; later versions do not.
 */
export function decodeText(bytes: Uint8Array, encoding: string): string {
  const decoder = new TextDecoder(encoding, { fatal: true });
  const text = decoder.decode(bytes);
  if (decoder.encoding !== 'windows-1252') return text;
  return text.replace(/[\x80-\x9f]/g, (byte) => WINDOWS_1252.charAt(byte.charCodeAt(0) - 0x80));
}
