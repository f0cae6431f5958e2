/** Reads a configuration file. Strict: whatever is not understood is an error that says where. */

import { dirname, resolve } from 'node:path';
import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { decodeText } from '../lib/decode-text.ts';
import { kindOfSystemError, messageOf, readAdvice, TmemError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import { withAbsolutePaths } from './paths.ts';
import { readHead } from './read-head.ts';
import { fileSchema, keysAt, type RequestedConfig } from './schema.ts';

/** A configuration is a page or two; what is larger is some other file. */
const FILE_BYTES_MAX = 1024 * 1024;

function readBytes(path: string): Buffer {
  try {
    return readHead(path, FILE_BYTES_MAX + 1);
  } catch (cause) {
    throw new TmemError(
      kindOfSystemError(cause),
      `cannot read the configuration file ${path}: ${readAdvice(cause)}`,
      { context: { path }, cause },
    );
  }
}

function readText(path: string): string {
  const bytes = readBytes(path);
  if (bytes.length > FILE_BYTES_MAX) {
    throw new TmemError('usage', `${path} is larger than 1MiB; is it a configuration file?`, {
      context: { path },
    });
  }
  try {
    return decodeText(bytes, 'utf-8');
  } catch (cause) {
    // Read all the same, a path would be another one.
    throw new TmemError('usage', `${path} is not text in UTF-8; save it as such`, {
      context: { path },
      cause,
    });
  }
}

/** `exports[0].mode`, as in JavaScript. */
function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) =>
      typeof key === 'number' ? `[${key}]` : `${index > 0 ? '.' : ''}${String(key)}`,
    )
    .join('');
}

/** Whether the file says anything at `path`. */
function isSaid(content: unknown, path: readonly PropertyKey[]): boolean {
  let value = content;
  for (const key of path) value = (value as Partial<Record<PropertyKey, unknown>> | null)?.[key];
  return value !== undefined;
}

function describeIssue(issue: z.core.$ZodIssue, content: unknown): string {
  const at = formatPath(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0] ?? '';
    const meant = nearest(key, keysAt(issue.path));
    const keys = keysAt(issue.path).join(', ');
    const advice = meant === undefined ? `the keys are ${keys}` : `did you mean ${meant}?`;
    return `unknown key ${at === '' ? key : `${at}.${key}`}; ${advice}`;
  }
  if (!isSaid(content, issue.path)) return `${at} is missing; give it`;
  if (issue.code === 'invalid_value') {
    return `${at} must be one of ${issue.values.map(String).join(', ')}`;
  }
  if (issue.code === 'invalid_type')
    return `${at || 'the file'} must be ${nounFor(issue.expected)}`;
  if (issue.code === 'invalid_union') return `${at} must be a text or a number`;
  if (issue.code === 'too_small') return describeBound(at, issue.origin, 'at least', issue.minimum);
  if (issue.code === 'too_big') return describeBound(at, issue.origin, 'at most', issue.maximum);
  return `${at}: ${issue.message}`;
}

function describeBound(at: string, origin: string, word: string, bound: number | bigint): string {
  return origin === 'number' || origin === 'int'
    ? `${at} must be ${word} ${bound}`
    : `${at} may not be empty`;
}

function nounFor(expected: string): string {
  const nouns: Readonly<Record<string, string>> = {
    object: 'a mapping of keys to values',
    array: 'a list',
    string: 'a text',
    int: 'a whole number',
    number: 'a whole number',
    boolean: 'true or false',
  };
  return nouns[expected] ?? expected;
}

/** The line of what is at `path`, and of its `key`: its own node, or the nearest above it that is there. */
function lineOf(
  path: readonly PropertyKey[],
  key: string | undefined,
  document: Document,
  lines: LineCounter,
): number {
  for (let depth = path.length; depth >= 0; depth--) {
    const node = depth === 0 ? document.contents : document.getIn(path.slice(0, depth), true);
    if (!isNode(node) || !node.range) continue;
    const pair = isMap(node)
      ? node.items.find((item) => isScalar(item.key) && item.key.value === key)
      : undefined;
    const offset = pair && isScalar(pair.key) ? pair.key.range?.[0] : undefined;
    return lines.linePos(offset ?? node.range[0]).line;
  }
  return 1;
}

function reasonOf(cause: unknown): string {
  if (cause instanceof RangeError) return 'this is not YAML: it is nested too deeply';
  if (cause instanceof ReferenceError && cause.message.startsWith('Excessive')) {
    return 'its aliases stand for too much; write out what they stand for';
  }
  return `this is not YAML: ${messageOf(cause)}`;
}

/** What a file says, and where it says it. */
export interface LoadedConfig {
  readonly config: RequestedConfig;
  /** File and line of what is at these keys. */
  readonly placeOf: (keys: readonly PropertyKey[]) => string;
}

/**
 * Reads configuration from `text`, which came from `path`; relative paths in it are resolved
 * against the directory of that file. Throws a usage error that names file, line and key.
 */
export function parseConfig(text: string, path: string): LoadedConfig {
  const refuse = (line: number, message: string, count: number): never => {
    const more = count > 1 ? ` (and ${count - 1} more)` : '';
    throw new TmemError('usage', `${path}:${line}: ${message}${more}`, { context: { path, line } });
  };
  const lines = new LineCounter();
  let content: unknown;
  let document: Document;
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      logLevel: 'error', // what it would print is not for users, and an error follows anyway
    });
    // A warning is about what was not understood and left out, as an unknown tag.
    const errors = [...document.errors, ...document.warnings];
    const [error] = errors;
    if (error !== undefined) {
      const { line } = lines.linePos(error.pos[0]);
      const reason =
        error.code === 'MULTIPLE_DOCS'
          ? 'a second document begins here; keep one'
          : `this is not YAML: ${error.message}`;
      refuse(line, reason, errors.length);
    }
    content = document.toJS() ?? {};
  } catch (cause) {
    // What the parser throws is about the text too: aliases without end, nesting without end.
    if (cause instanceof TmemError) throw cause;
    throw new TmemError('usage', `${path}: ${reasonOf(cause)}`, { cause });
  }
  const result = fileSchema.safeParse(content);
  if (result.success) {
    const placeOf = (keys: readonly PropertyKey[]): string =>
      `${path}:${lineOf(keys, undefined, document, lines)}`;
    return { config: fromItsDirectory(result.data, path), placeOf };
  }
  const { issues } = result.error;
  // A key that nobody knows is what was meant by one that is missing.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  if (issue === undefined) throw result.error;
  const key = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const line = lineOf(issue.path, key, document, lines);
  return refuse(line, describeIssue(issue, content), issues.length);
}

/** A path that is too long only when it is a whole one is refused with the file's name. */
function fromItsDirectory(config: RequestedConfig, path: string): RequestedConfig {
  try {
    return withAbsolutePaths(config, (each) => resolve(dirname(path), each));
  } catch (cause) {
    if (!(cause instanceof TmemError)) throw cause;
    throw new TmemError(cause.kind, `${path}: ${cause.message}`, { cause });
  }
}

/**
 * What only the whole tells to be wrong: of a setting that `file` makes, and `options` do not, the
 * answer says where that is. All else it answers as it is.
 */
export function whereItIsSet(
  error: unknown,
  { config, placeOf }: LoadedConfig,
  options: RequestedConfig,
): unknown {
  if (!(error instanceof TmemError)) return error;
  const [key = '', ...rest] = String(error.context.setting ?? '').split('.');
  if (!(key in config) || key in options) return error;
  const keys = [key, ...rest.map((part) => (/^\d+$/.test(part) ? Number(part) : part))];
  const { kind, message, context } = error;
  return new TmemError(kind, `${placeOf(keys)}: ${message}`, { context, cause: error });
}

/** Reads the configuration file at `path`, an absolute one. */
export function loadConfig(path: string): LoadedConfig {
  return parseConfig(readText(path), path);
}
