import { expect, test } from 'vitest';
import {
  COMMON_OPTIONS,
  type OptionTable,
  parseArguments,
} from '../../../src/cli/command/arguments.ts';
import { formatOptions } from '../../../src/cli/command/help.ts';

const TABLE = {
  memory: { value: 'SIZE', help: 'how much' },
  listen: { value: 'ADDRESS', help: 'where\n(anywhere)' },
  json: { help: 'for programs' },
  watch: { value: 'SECONDS', isValueOptional: true, help: 'again' },
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

const parse = (...args: string[]) => parseArguments(args, TABLE, 'tmem try');

test('parseArguments tells options from positionals in any order', () => {
  const parsed = parse('a', '--memory', '1', '--json', 'b', '--', '--c');
  expect(parsed.positionals).toEqual(['a', 'b', '--c']);
  expect(parsed.has('json')).toBe(true);
  expect(parsed.has('help')).toBe(false);
});

test('parseArguments keeps all values of an option; the last one counts', () => {
  const parsed = parse('--listen', 'a', '--listen=b');
  expect(parsed.all('listen')).toEqual(['a', 'b']);
  expect(parsed.last('listen')).toBe('b');
  expect(parsed.last('memory')).toBeUndefined();
});

test('parseArguments takes short options, also joined', () => {
  const parsed = parse('-hV');
  expect([parsed.has('help'), parsed.has('version')]).toEqual([true, true]);
});

test('parseArguments takes an inline value that looks like an option', () => {
  expect(parse('--memory=-1').last('memory')).toBe('-1');
});

test('parseArguments takes an option without its value where that is optional', () => {
  const parsed = parse('--watch', '5');
  expect([parsed.has('watch'), parsed.last('watch'), parsed.positionals]).toEqual([
    true,
    '',
    ['5'],
  ]);
  expect(parse('--watch=5').last('watch')).toBe('5');
});

test.each([
  [['--memroy', '1'], 'there is no option --memroy; did you mean --memory?'],
  [['--colour'], 'there is no option --colour; see tmem try --help'],
  [['-x'], 'there is no option -x; see tmem try --help'],
  [['--__proto__'], 'there is no option --__proto__; see tmem try --help'],
  [['--memory'], '--memory needs a value: SIZE'],
  [['--memory='], '--memory needs a value: SIZE'],
  [['--watch='], '--watch needs a value: SECONDS'],
  [['--memory', '--json'], '--memory needs a value, but --json follows; write --memory=VALUE'],
  [['--json=yes'], '--json takes no value'],
])('parseArguments refuses %j in one sentence', (args, message) => {
  expect(() => parse(...args)).toThrow(message);
});

test('formatOptions explains every option of the table, in columns', () => {
  expect(formatOptions(TABLE).split('\n')).toEqual([
    '  --memory SIZE                   how much',
    '  --listen ADDRESS                where',
    '                                  (anywhere)',
    '  --json                          for programs',
    '  --watch[=SECONDS]               again',
    '  -h, --help                      print this text',
    '  -V, --version                   print the version',
  ]);
});
