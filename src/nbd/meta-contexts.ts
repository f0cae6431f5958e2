/**
 * The metadata contexts of the server, and which of them a query means (NBD specification,
 * "Metadata querying"). A query for anything else is ignored: it is no error.
 */

/** A metadata context, with the id that it has on every connection. */
export interface MetaContext {
  readonly id: number;
  /** `namespace:leaf`. */
  readonly name: string;
}

/** The id by which BLOCK_STATUS replies name `base:allocation`. */
export const BASE_ALLOCATION_ID = 1;

/** The id by which they name `qemu:allocation-depth` (QEMU, docs/interop/nbd.txt). */
export const ALLOCATION_DEPTH_ID = 2;

/** The contexts that clients can select, in the order in which they are listed; ids are unique. */
export const META_CONTEXTS: readonly MetaContext[] = [
  { id: BASE_ALLOCATION_ID, name: 'base:allocation' },
  { id: ALLOCATION_DEPTH_ID, name: 'qemu:allocation-depth' },
];

/** A query selects the context that it names in full; a wildcard, or no query, selects nothing. */
export function selectContexts(queries: readonly string[]): readonly MetaContext[] {
  return META_CONTEXTS.filter(({ name }) => queries.includes(name));
}

/** No query at all lists every context, and `namespace:` those of that namespace. */
export function listContexts(queries: readonly string[]): readonly MetaContext[] {
  if (queries.length === 0) return META_CONTEXTS;
  return META_CONTEXTS.filter(({ name }) => {
    const wildcard = name.slice(0, name.indexOf(':') + 1);
    return queries.includes(name) || queries.includes(wildcard);
  });
}
