/** What can be measured, and with which servers. */

import { type BenchCase, READ_CASES, type SuiteName } from './cases.ts';
import { IMAGE_CASES } from './image-cases.ts';
import { IMAGE_PEERS, IMAGE_SERVERS } from './image-servers.ts';
import { READ_PEERS, WRITE_PEERS } from './peers.ts';
import { TMEM_READING, TMEM_SWAP, TMEM_WRITING, type TmemDefinition } from './tmem.ts';
import { SWAP_CASES, WRITE_CASES } from './write-cases.ts';

export const SUITES: readonly SuiteName[] = ['reads', 'writes', 'swap', 'images'];

/** Every case, in the order it is run and shown. */
export const CASES: readonly BenchCase[] = [
  ...[...READ_CASES, ...WRITE_CASES, ...SWAP_CASES],
  ...IMAGE_CASES,
];

/** Every server, peers first. */
export const SERVERS: readonly TmemDefinition[] = [
  ...[...READ_PEERS, ...WRITE_PEERS, ...IMAGE_PEERS],
  ...[...TMEM_READING, ...TMEM_WRITING, ...TMEM_SWAP, ...IMAGE_SERVERS],
];

/** The server of that name. */
export function serverOf(id: string): TmemDefinition {
  const found = SERVERS.find((server) => server.id === id);
  if (found === undefined) throw new Error(`a case names "${id}", which is no server`);
  return found;
}
