/**
 * What answers have to be like. A service of another version, or another program that speaks HTTP, may
 * answer anything: what is not of the form that this version knows is not taken for it.
 */

/** Whether a value is of that form. */
export type Form<Value> = (value: unknown) => value is Value;

export const text: Form<string> = (value) => typeof value === 'string';
export const number: Form<number> = (value) => typeof value === 'number';
export const flag: Form<boolean> = (value) => typeof value === 'boolean';

/** One of these words. */
export function word<Word extends string>(...words: readonly Word[]): Form<Word> {
  return (value): value is Word => words.some((each) => each === value);
}

export function orNull<Value>(form: Form<Value>): Form<Value | null> {
  return (value): value is Value | null => value === null || form(value);
}

export function listOf<Value>(form: Form<Value>): Form<readonly Value[]> {
  return (value): value is readonly Value[] => Array.isArray(value) && value.every(form);
}

/** An object with any names, and values of that form. */
export function mapOf<Value>(form: Form<Value>): Form<Readonly<Record<string, Value>>> {
  return (value): value is Readonly<Record<string, Value>> =>
    isObject(value) && Object.values(value).every(form);
}

/** An object with these members; a newer version may have more. */
export function members<Value extends object>(
  forms: {
    readonly [Name in keyof Value]-?: Form<Value[Name]>;
  },
): Form<Value> {
  const entries = Object.entries<Form<unknown>>(forms);
  return (value): value is Value =>
    isObject(value) && entries.every(([name, form]) => form(value[name]));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
