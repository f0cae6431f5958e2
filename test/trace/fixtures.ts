/** A small trace of every format, written by hand, and the requests that are in it. */

import type { PlainRequest } from './parsing.ts';

export interface Fixture {
  readonly format: string;
  /** A name that says nothing. */
  readonly bytes: Buffer;
  readonly requests: readonly PlainRequest[];
}

function text(format: string, lines: readonly string[], requests: PlainRequest[]): Fixture {
  return { format, bytes: Buffer.from(`${lines.join('\n')}\n`), requests };
}

function read(timeUs: number, offset: number, length: number, volume: string): PlainRequest {
  return { timeUs, op: 'read', offset, length, volume };
}

function write(timeUs: number, offset: number, length: number, volume: string): PlainRequest {
  return { timeUs, op: 'write', offset, length, volume };
}

/** Numbers of the sizes given, little-endian, one after another. */
export function packed(...fields: readonly (readonly [number, bigint | number])[]): Buffer {
  return Buffer.concat(
    fields.map(([size, value]) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
      return bytes.subarray(0, size);
    }),
  );
}

function vscsiV1(command: number, length: number, block: number, time: number): Buffer {
  return packed([4, 1], [4, length], [4, 1], [2, command], [2, 0x100], [8, block], [8, time]);
}

function vscsiV2(command: number, length: number, block: number, time: number, rt: number): Buffer {
  const head = packed([2, command], [2, 0x200], [4, 1], [4, length], [4, 1]);
  return Buffer.concat([head, packed([8, block], [8, time], [8, rt])]);
}

/** An event of blktrace with `pdu` bytes behind it. */
export function blktraceEvent(
  timeNs: number,
  sector: number,
  bytes: number,
  action: number,
  pdu = 0,
): Buffer {
  const head = packed([4, 0x65617407], [4, 1], [8, timeNs], [8, sector], [4, bytes], [4, action]);
  const tail = packed([4, 7], [4, (8 << 20) | 16], [4, 0], [2, 0], [2, pdu]);
  return Buffer.concat([head, tail, Buffer.alloc(pdu, 0x41)]);
}

function oracle(time: number, key: number, size: number, next: number): Buffer {
  return packed([4, time], [8, key], [4, size], [8, next]);
}

export const LCS_MAGIC = 0x123456789abcdef0n;

function lcsDescribed(): Buffer {
  const header = Buffer.alloc(1024);
  packed([8, LCS_MAGIC]).copy(header);
  header.write('<IQIqBH', 8);
  Buffer.from([2, 3, 1, 0, 4, 5, 0, 6]).copy(header, 248);
  packed([4, 6], [4, 27], [8, 1], [8, LCS_MAGIC]).copy(header, 1000);
  const first = packed([4, 10], [8, 77], [4, 4096], [8, -1], [1, 12], [2, 0]);
  return Buffer.concat([
    header,
    first,
    packed([4, 11], [8, 78], [4, 512], [8, -1], [1, 13], [2, 3]),
  ]);
}

function lcsVersioned(): Buffer {
  const header = Buffer.alloc(8192);
  packed([8, LCS_MAGIC], [8, 3]).copy(header);
  packed([8, LCS_MAGIC]).copy(header, 8184);
  const record = packed([4, 5], [8, 2 ** 40], [8, 100], [1, 3], [3, 2], [4, 0], [8, -1]);
  return Buffer.concat([header, record]);
}

export const FIXTURES: readonly Fixture[] = [
  text(
    'msr',
    [
      '128166372003061625,src1,0,Read,383496192,32768,413',
      '128166372013061625,src1,1,Write,4096,512,1500',
    ],
    [
      { ...read(1172163600306162.5, 383496192, 32768, 'src1_0'), latencyUs: 41 },
      { ...write(1172163601306162.5, 4096, 512, 'src1_1'), latencyUs: 150 },
    ],
  ),
  text(
    'systor',
    [
      'Timestamp,Response,IOType,LUN,Offset,Size',
      '1455592257.080266000,0.000119,R,4,8192,4096',
      '1455592257.5,,W,5,0,512',
    ],
    [
      { ...read(1455592257080266, 8192, 4096, '4'), latencyUs: 119 },
      write(1455592257500000, 0, 512, '5'),
    ],
  ),
  text(
    'fiu',
    [
      '89967404756101 4892 syslogd 904265560 8 W 6 0 531e779de6bd6f5b5a9a6ea3d7d6d5a1',
      '89967404757000 12 kjournald 16 2 R 6 1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
    ],
    [write(89967404756.101, 904265560 * 512, 4096, '6_0'), read(89967404757, 8192, 1024, '6_1')],
  ),
  text(
    'alibaba',
    [
      'device_id,opcode,offset,length,timestamp',
      '419,W,8792731648,16384,1577808144360767',
      '7,R,0,512,1577808144360768',
    ],
    [write(1577808144360767, 8792731648, 16384, '419'), read(1577808144360768, 0, 512, '7')],
  ),
  text(
    'tencent',
    ['1538323200,12910952,128,0,1063', '1538323201,8,1,1,1313'],
    [read(1538323200e6, 12910952 * 512, 65536, '1063'), write(1538323201e6, 4096, 512, '1313')],
  ),
  text(
    'spc',
    ['0,20941264,8192,W,0.551706', '1,3072,512,r,2.5,extra'],
    [write(551706, 20941264 * 512, 8192, '0'), read(2500000, 3072 * 512, 512, '1')],
  ),
  text(
    'k5',
    ['12,0.000250,R,4096,8192', '12,1.5,W,0,512'],
    [read(250, 4096, 8192, '12'), write(1500000, 0, 512, '12')],
  ),
  text(
    'tectonic',
    [
      'op_time,block_id,block_id_size,rs_shard_id,op_name,op_count,io_offset,io_size',
      '100,9001,40000000,1,getChunkData.Permanent,2,131072,4096',
      '101,9002,40000000,1,putChunk.NotInitialized,1,0,512',
      '102,9001,40000000,1,getChunkData.NotInitialized,1,4096,10',
    ],
    [
      read(100e6, 131072, 4096, 'disk'),
      read(100e6, 131072, 4096, 'disk'),
      write(101e6, 64 * 1024 * 1024, 512, 'disk'),
      read(102e6, 4096, 10, 'disk'),
    ],
  ),
  text(
    'arc',
    ['230027 8 0 0', '1842745 64 0 1'],
    [read(0, 230027 * 512, 4096, 'disk'), read(1, 1842745 * 512, 32768, 'disk')],
  ),
  text('lirs', ['17', '*', '4'], [read(0, 17, 1, 'disk'), read(1, 4, 1, 'disk')]),
  text(
    'blkparse',
    [
      '  8,0    3        1     0.000000000   697  G   W 223490 + 8 [kjournald]',
      '  8,0    3        2     0.000001829   697  Q   W 223490 + 8 [kjournald]',
      '  8,0    3        3     0.000002000   697  Q   R 16 + 1 [cat]',
      '  8,16   1        1     0.000003000   697  Q  WS 16 + 8 [cat]',
      '  8,16   1        2     0.000004000   697  Q FWS [cat]',
      '  8,16   1        3     0.000005000   697  Q   D 0 + 64 [fstrim]',
      '  8,0    3        4     0.000005500   697  m   N cfq697 insert',
      '  8,0    3        5     0.000006000   697  D   W 223490 + 8 [kjournald]',
      'CPU3 (8,0):',
      ' Reads Queued:           1,        0KiB',
    ],
    [
      write(1, 223490 * 512, 4096, '8_0'),
      read(2, 8192, 512, '8_0'),
      write(3, 8192, 4096, '8_16'),
      { timeUs: 4, op: 'flush', offset: 0, length: 0, volume: '8_16' },
      { timeUs: 5, op: 'trim', offset: 0, length: 32768, volume: '8_16' },
    ],
  ),
  text(
    'fio-v2',
    [
      'fio version 2 iolog',
      '/dev/sda add',
      '/dev/sda open',
      '/dev/sda read 4096 8192',
      '/dev/sda wait 1500',
      '/dev/sda write 0 512',
      '/dev/sda trim 0 4096',
      '/dev/sda datasync 0 0',
      '/dev/sda close',
    ],
    [
      read(0, 4096, 8192, '/dev/sda'),
      write(1500, 0, 512, '/dev/sda'),
      { timeUs: 1500, op: 'trim', offset: 0, length: 4096, volume: '/dev/sda' },
      { timeUs: 1500, op: 'flush', offset: 0, length: 0, volume: '/dev/sda' },
    ],
  ),
  text(
    'fio-v3',
    [
      'fio version 3 iolog',
      '2 nvme add',
      '872 nvme open',
      '878 nvme write 0 16384',
      '888 nvme read 16384 512',
      '999 nvme sync 0 0',
      '10001677 nvme close',
    ],
    [
      write(878, 0, 16384, 'nvme'),
      read(888, 16384, 512, 'nvme'),
      { timeUs: 999, op: 'flush', offset: 0, length: 0, volume: 'nvme' },
    ],
  ),
  text(
    'disksim',
    ['0.551 1 303567 7 0', '  20.25 2 16 1 1b', '30.0 2 16 1 a'],
    [
      write(551, 303567 * 512, 3584, '1'),
      read(20250, 8192, 512, '2'),
      write(30000, 8192, 512, '2'),
    ],
  ),
  text(
    'mqsim',
    ['48513000 0 2640 48 1', '51524000 1 16 8 0'],
    [read(48513, 2640 * 512, 24576, '0'), write(51524, 8192, 4096, '1')],
  ),
  text(
    'libcachesim-csv',
    ['1,17,4096', '2,18,512', '2,17,4096'],
    [
      { ...read(1e6, 17, 1, 'disk'), contentBytes: 4096 },
      { ...read(2e6, 18, 1, 'disk'), contentBytes: 512 },
      { ...read(2e6, 17, 1, 'disk'), contentBytes: 4096 },
    ],
  ),
  text(
    'csv',
    ['version;time_us;op;size;lbn;disk', '1;1000.5;2a;512;42932745;"a"', '1;2000;28;4096;8;b'],
    [write(1000.5, 42932745 * 512, 512, 'a'), read(2000, 4096, 4096, 'b')],
  ),
  {
    format: 'vscsi-v1',
    bytes: Buffer.concat([
      vscsiV1(0x2a, 512, 42932745, 5633898368802),
      vscsiV1(0x12, 0, 0, 5633898368900),
      vscsiV1(0x28, 4096, 8, 5633898369000),
    ]),
    requests: [
      write(5633898368802, 42932745 * 512, 512, 'disk'),
      read(5633898369000, 4096, 4096, 'disk'),
    ],
  },
  {
    format: 'vscsi-v2',
    bytes: Buffer.concat([
      vscsiV2(0x8a, 512, 16, 5000, 250),
      vscsiV2(0x88, 4096, 8, 6000, 90),
      vscsiV2(0x35, 0, 0, 7000, 0),
    ]),
    requests: [
      { ...write(5000, 8192, 512, 'disk'), latencyUs: 250 },
      { ...read(6000, 4096, 4096, 'disk'), latencyUs: 90 },
      { timeUs: 7000, op: 'flush', offset: 0, length: 0, volume: 'disk' },
    ],
  },
  {
    format: 'blktrace',
    bytes: Buffer.concat([
      blktraceEvent(1_000_000, 16, 4096, 0x0001_0001),
      blktraceEvent(2_000_000, 16, 4096, 0x0001_0007, 13),
      blktraceEvent(3_500_000, 32, 512, 0x0002_0001, 5),
      blktraceEvent(4_000_000, 0, 65536, (1 << 13) * 65536 + 0x20001),
      blktraceEvent(5_000_000, 0, 0, 0x0006_0001),
    ]),
    requests: [
      read(1000, 8192, 4096, '8_16'),
      write(3500, 16384, 512, '8_16'),
      { timeUs: 4000, op: 'trim', offset: 0, length: 65536, volume: '8_16' },
      { timeUs: 5000, op: 'flush', offset: 0, length: 0, volume: '8_16' },
    ],
  },
  {
    format: 'oracle-general',
    bytes: Buffer.concat([
      oracle(5, 100, 512, 3),
      oracle(6, 101, 1024, -1),
      oracle(6, 100, 512, -1),
    ]),
    requests: [
      { ...read(5e6, 100, 1, 'disk'), contentBytes: 512 },
      { ...read(6e6, 101, 1, 'disk'), contentBytes: 1024 },
      { ...read(6e6, 100, 1, 'disk'), contentBytes: 512 },
    ],
  },
  {
    format: 'lcs',
    bytes: lcsDescribed(),
    requests: [
      { ...read(10e6, 77, 1, 'disk'), contentBytes: 4096 },
      { ...write(11e6, 78, 1, 'tenant-3'), contentBytes: 512 },
    ],
  },
  {
    format: 'lcs',
    bytes: lcsVersioned(),
    requests: [{ ...write(5e6, 2 ** 40, 1, 'tenant-2'), contentBytes: 100 }],
  },
];
