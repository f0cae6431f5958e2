/**
 * The names, numbers and switches that a URL can hold: the one place where they are read and
 * checked. Nothing is looked up, allocated or done before all of a request's are valid.
 */

import { Problem } from './problem.ts';

const INDEX_MAX = 0xffffffff;
const NAME_BYTES_MAX = 4096;
/** What clients and shared pools may be called. */
export const LABEL_SHAPE = /^[A-Za-z0-9._-]{1,64}$/;
const DIGITS = /^(?:0|[1-9]\d{0,15})$/;

/** One parameter: how it is read, and what the document says of it. */
interface Parameter {
  readonly description: string;
  /** JSON Schema. */
  readonly schema: Readonly<Record<string, unknown>>;
  /** The value of `text`; undefined when it has none. */
  readonly read: (text: string) => string | number | undefined;
}

function wholeNumber(min: number, max: number, description: string): Parameter {
  return {
    description,
    schema: { type: 'integer', minimum: min, maximum: max },
    read: (text) => {
      const value = DIGITS.test(text) ? Number(text) : Number.NaN;
      return value >= min && value <= max ? value : undefined;
    },
  };
}

function label(description: string): Parameter {
  return {
    description,
    schema: { type: 'string', pattern: LABEL_SHAPE.source },
    read: (text) => (LABEL_SHAPE.test(text) ? text : undefined),
  };
}

/** Those that stand in a path, by name. */
export const PATH_PARAMETERS: Readonly<Record<string, Parameter>> = {
  id: wholeNumber(1, Number.MAX_SAFE_INTEGER, "The pool's number."),
  object: wholeNumber(0, Number.MAX_SAFE_INTEGER, 'The object in the pool.'),
  index: wholeNumber(0, INDEX_MAX, 'The page in the object.'),
  name: {
    description: "The export's name.",
    schema: { type: 'string', minLength: 1, maxLength: NAME_BYTES_MAX },
    read: (text) => (text === '' || Buffer.byteLength(text) > NAME_BYTES_MAX ? undefined : text),
  },
  client: label('The client that is granted something.'),
  sharedName: label('The name of a shared pool.'),
};

/** Pages of an object that one call takes at most, of the smallest page size. */
const COUNT_MAX = 1024;

/** Those that stand in a query, by name. */
export const QUERY_PARAMETERS: Readonly<Record<string, Parameter>> = {
  count: wholeNumber(1, COUNT_MAX, 'How many pages; without it, as many as there are in a row.'),
  exclusive: {
    description: 'Whether a page that is found is taken out of the pool.',
    schema: { type: 'boolean', default: false },
    read: (text) => (text === 'true' || text === 'false' ? text : undefined),
  },
};

/** The header that carries the key of a pool, and that of a grant. */
export const POOL_KEY_HEADER = 'tmem-pool-key';
export const GRANT_KEY_HEADER = 'tmem-grant-key';

/** The values of the names in `segments`, in the path that was given. Throws a Problem. */
export function readParameters(
  segments: readonly string[],
  given: readonly string[],
): ReadonlyMap<string, string | number> {
  const values = new Map<string, string | number>();
  for (const [i, segment] of segments.entries()) {
    if (!segment.startsWith('{')) continue;
    const name = segment.slice(1, -1);
    values.set(name, readOne(PATH_PARAMETERS[name], name, decode(given[i] ?? '')));
  }
  return values;
}

/** The values of a query that may hold `names`, each once and nothing else. Throws a Problem. */
export function readQuery(
  query: string,
  names: readonly string[],
): ReadonlyMap<string, string | number> {
  const values = new Map<string, string | number>();
  for (const [name, text] of new URLSearchParams(query)) {
    if (!names.includes(name)) {
      const known = names.length === 0 ? 'it takes none' : `it takes ${names.join(', ')}`;
      throw new Problem(400, `${shown(name)} is no query parameter here; ${known}`);
    }
    if (values.has(name)) throw new Problem(400, `${name} is given twice; give it once`);
    values.set(name, readOne(QUERY_PARAMETERS[name], name, text));
  }
  return values;
}

function readOne(parameter: Parameter | undefined, name: string, text: string): string | number {
  const value = parameter?.read(text);
  if (parameter !== undefined && value !== undefined) return value;
  throw new Problem(400, `${shown(text)} is no ${name}; it must be ${describe(parameter?.schema)}`);
}

function describe(schema: Readonly<Record<string, unknown>> = {}): string {
  const { type, minimum, maximum, pattern, maxLength } = schema;
  if (type === 'integer') return `a whole number from ${minimum} to ${maximum}`;
  if (type === 'boolean') return 'true or false';
  if (pattern !== undefined) return 'one to 64 letters, digits, dots, dashes or underscores';
  return `a name of at most ${maxLength} bytes`;
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Problem(400, `${shown(segment)} is not percent-encoded UTF-8; encode it anew`);
  }
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
