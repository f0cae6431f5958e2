import { describe, expect, it } from 'vitest';
import { decodeImageTable, encodeImageTable } from '../../src/snapshot/image-table.ts';

const image = (name: string) => ({
  name,
  stamp: { medium: 'file:1:2', sizeBytes: 2 ** 40, mtimeNs: 1n, ctimeNs: 2n ** 62n },
  pages: 2 ** 33,
  firstSegment: 0,
  endSegment: 7,
});

describe('a table of images', () => {
  const images = [image('one'), image('two')];
  const table = encodeImageTable(images);

  it('is read as it was written, with names of 255 bytes at the most', () => {
    expect(decodeImageTable(table, 2)).toEqual(images);
    const long = encodeImageTable([image('n'.repeat(70_000)), image('two')]);
    expect(decodeImageTable(long, 2)).toEqual([image('n'.repeat(255)), image('two')]);
  });

  it('that is cut off anywhere, or says that it is longer or shorter, is none', () => {
    for (let end = 0; end < table.length; end++) {
      expect(decodeImageTable(table.subarray(0, end), 2)).toBeUndefined();
    }
    expect(decodeImageTable(table, 3)).toBeUndefined();
    expect(decodeImageTable(table, 1)).toBeUndefined();
  });
});
