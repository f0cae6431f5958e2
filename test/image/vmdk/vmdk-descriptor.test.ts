import { describe, expect, it } from 'vitest';
import { parseDescriptor } from '../../../src/image/vmdk/structures/descriptor.ts';
import { TmemError } from '../../../src/lib/errors.ts';

function text(...lines: string[]): Buffer {
  const base = ['# Disk DescriptorFile', 'version=1', 'CID=fffffffe', 'parentCID=ffffffff'];
  return Buffer.from([...base, 'createType="vmfs"', ...lines, ''].join('\n'), 'latin1');
}

function parse(...lines: string[]) {
  return parseDescriptor(text(...lines), 'disk.vmdk');
}

it('a descriptor as VMware writes it is understood', () => {
  const descriptor = parseDescriptor(
    Buffer.from(
      [
        ...['# Disk DescriptorFile', 'version=1', 'encoding="UTF-8"', 'CID=9a8b7c6d'],
        ...['parentCID=12345678', 'isNativeSnapshot="no"', 'createType="twoGbMaxExtentSparse"'],
        ...['parentFileNameHint="../base one.vmdk"', '', '# Extent description'],
        ...['RW 4192256 SPARSE "d\u00fc-s001.vmdk"', 'RW 63 FLAT "d-f001.vmdk" 128'],
        ...['RDONLY 8 ZERO', '', '#DDB', 'ddb.adapterType = "lsilogic"'],
        ...['ddb.virtualHWVersion = "7"', ''],
      ].join('\r\n'),
    ),
    'disk.vmdk',
  );
  expect(descriptor).toMatchObject({
    ...{ createType: 'twoGbMaxExtentSparse', cid: 0x9a8b7c6d, parentCid: 0x12345678 },
    ...{ parentName: '../base one.vmdk', adapterType: 'lsilogic', hardwareVersion: '7' },
    extents: [
      { access: 'RW', lengthBytes: 4192256 * 512, type: 'SPARSE', name: 'd\u00fc-s001.vmdk' },
      { type: 'FLAT', name: 'd-f001.vmdk', fileOffset: 128 * 512 },
      { access: 'RDONLY', type: 'ZERO', name: undefined },
    ],
  });
});

it.each([
  ['windows-1252', Buffer.from([0x64, 0x96, 0xfc]), 'd\u2013\u00fc'],
  ['Shift_JIS', Buffer.from([0x83, 0x65]), '\u30c6'],
  ['GBK', Buffer.from([0xb2, 0xe2]), '\u6d4b'],
  ['Big5', Buffer.from([0xb4, 0xfa]), '\u6e2c'],
])('names are decoded from %s', (encoding, bytes, name) => {
  const line = `RW 8 FLAT "${bytes.toString('latin1')}" 0`;
  expect(parse(`encoding="${encoding}"`, line).extents[0]?.name).toBe(name);
  expect(() => parse(line)).toThrow(/not in the encoding "utf-8"/);
});

it('the digits of the CID are found where they are, however many', () => {
  for (const cid of ['1', 'ab', 'ABCDEF01']) {
    const bytes = Buffer.from(text().toString().replace('CID=fffffffe', `CID=  ${cid}  `));
    const { cidOffset, cidDigits } = parseDescriptor(bytes, 'disk.vmdk');
    expect(bytes.toString('latin1', cidOffset, cidOffset + cidDigits)).toBe(cid);
  }
});

it('a descriptor of spaces is read in one pass, wherever they are', () => {
  const spaces = ' '.repeat(900_000);
  const line = 'RW 8 FLAT "a" 0';
  expect(parse(`encoding=${spaces}"UTF-8"${spaces}`, line).extents).toHaveLength(1);
  expect(parse(`ddb.adapterType="x${spaces}y"`, line).adapterType).toHaveLength(64);
  expect(parse(`ddb.note=x${spaces}y`, line).extents).toHaveLength(1);
  expect(parse(`ddb.note${spaces}x`, line).extents).toHaveLength(1);
  expect(parse(`${line}${spaces}`).extents).toHaveLength(1);
  expect(() => parse(`${line}${spaces}x`)).toThrow(/disk\.vmdk/);
});

describe('a descriptor is refused for', () => {
  it.each([
    ['a missing quotation mark', 'parentFileNameHint="base', 'parentCID=1'],
    ['a parent without a name', 'parentCID=12345678'],
    ['an extent of no sectors', 'RW 0 FLAT "a" 0'],
    ['a negative extent', 'RW -8 FLAT "a" 0'],
    ['an extent without end', 'RW 9999999999999999 FLAT "a" 0'],
    ['an extent without a name', 'RW 8 FLAT'],
    ['an extent with an empty name', 'RW 8 FLAT "" 0'],
    ['an extent of an unknown type', 'RW 8 SESPARSE "a"'],
    ['a sparse extent that begins later', 'RW 8 SPARSE "a" 8'],
    ['a quotation mark in a name', 'RW 8 FLAT "a"b" 0'],
    ['a name that is too long', `RW 8 FLAT "${'a'.repeat(1024)}" 0`],
    ['a control character in a name', 'RW 8 FLAT "a\x1b[2J" 0'],
    ['an unknown encoding', 'encoding="EBCDIC"', 'RW 8 FLAT "a" 0'],
    ['an unknown type', 'createType="seSparse"'],
    ['encryption', 'encryption.keySafe = "vmware:key/list"'],
    ['a CID that is none', 'CID=xyz'],
    ['a version of tomorrow', 'version=9'],
    ['too many extents', ...Array.from({ length: 4097 }, (_, i) => `RW 8 FLAT "a${i}" 0`)],
  ])('%s', (_name, ...lines) => {
    const refusal = () => parse(...lines);
    expect(refusal).toThrow(TmemError);
    expect(refusal).toThrow(/^cannot open "disk\.vmdk" as vmdk: at offset \d+, [ -~]*[^.]$/);
  });

  it('nothing of it', () => {
    for (const each of ['', '\0', 'hello', '# Disk Something\nCID=1']) {
      expect(() => parseDescriptor(Buffer.from(each), 'x')).toThrow(/no descriptor begins here/);
    }
    expect(() => parseDescriptor(Buffer.from('# Disk DescriptorFile\n'), 'x')).toThrow(
      /has no cid/,
    );
  });
});
