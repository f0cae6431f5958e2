import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { shellWord } from '../../../src/cli/command/shell-word.ts';

test.each(['nbd://h:1/', 'nbd+unix:///a?socket=/s&x', "it's", '', '$HOME `a` "b" \\'])(
  'shellWord makes one word of %j for a shell',
  (word) => {
    const args = ['-c', `printf '%s|' ${shellWord(word)}`];
    expect(execFileSync('/bin/sh', args, { encoding: 'utf8' })).toBe(`${word}|`);
  },
);
