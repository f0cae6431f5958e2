import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { crc32 } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { fill, load, makePlace, type Place, save, serve, upTo } from './fixture.ts';

let place: Place;

beforeEach(() => {
  place = makePlace();
});

async function saveSome(): Promise<Buffer> {
  const served = await serve(place);
  fill(served, upTo(20));
  await save(place, served);
  return fs.readFileSync(place.snapshotPath);
}

/** Another version: at both ends, with the checksum that every version has. */
function asVersion(bytes: Buffer, version: number): Buffer {
  for (const at of [0, bytes.length - 4096]) {
    bytes.writeUInt32LE(version, at + 8);
    bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 12)), at + 12);
  }
  return bytes;
}

describe('what is no snapshot of ours', () => {
  const contents: Record<string, [make: () => Promise<Buffer>, says: string]> = {
    'a text': [async () => Buffer.from('do not lose this\n'.repeat(1000)), 'it is something else'],
    'a short text': [async () => Buffer.from('x'), 'it is something else'],
    'a snapshot of another version': [
      async () => asVersion(await saveSome(), 2),
      'it is of another version than 1',
    ],
  };

  for (const [what, [make, says]] of Object.entries(contents)) {
    it(`is left alone, and the cache starts empty: ${what}`, async () => {
      const content = await make();
      fs.writeFileSync(place.snapshotPath, content);
      const served = await serve(place);
      const { loader, log } = await load(place, served);
      expect(loader.state).toBe('cold');
      expect(log).toEqual([expect.stringContaining(says)]);
      expect(log[0]).toMatch(/^[^\n]*; the cache starts empty$/);
      await expect(save(place, served)).rejects.toThrow(says);
      expect(fs.readFileSync(place.snapshotPath).equals(content)).toBe(true);
    });
  }

  it('is a directory, a pipe or a link: it is not opened, and not replaced', async () => {
    const served = await serve(place);
    const makers: ((path: string) => void)[] = [
      (path) => fs.mkdirSync(path),
      (path) => execFileSync('mkfifo', [path]),
      (path) => fs.symlinkSync('elsewhere', path),
    ];
    for (const make of makers) {
      make(place.snapshotPath);
      const { loader, log } = await load(place, served);
      expect([loader.state, log.length]).toEqual(['cold', 1]);
      await expect(save(place, served)).rejects.toMatchObject({ kind: 'usage' });
      fs.rmSync(place.snapshotPath, { recursive: true });
    }
  });
});

describe('a snapshot that cannot be used', () => {
  it('for its pages have another size is replaced at the next save', async () => {
    await saveSome();
    const { loader, log } = await load(place, await serve(place), { pageBytes: 8192 });
    expect(loader.state).toBe('cold');
    expect(log).toEqual([expect.stringContaining('its pages have 4096 bytes')]);
    await saveSome();
  });

  const damages: Record<string, (content: Buffer, last: number) => Buffer> = {
    'both ends are damaged': (content, last) => {
      content.writeUInt8(9, 30);
      content.writeUInt8(9, last + 30);
      return content;
    },
    'its version is damaged at both ends': (content, last) => {
      content.writeUInt8(9, 8);
      content.writeUInt8(9, last + 8);
      return content;
    },
    'one end is damaged and the other is cut off': (content, last) => {
      content.writeUInt8(9, 30);
      return content.subarray(0, last);
    },
  };

  for (const [what, damage] of Object.entries(damages)) {
    it(`for ${what} is replaced at the next save`, async () => {
      const content = await saveSome();
      fs.writeFileSync(place.snapshotPath, damage(content, content.length - 4096));
      const { loader, log } = await load(place, await serve(place));
      expect([loader.state, log]).toEqual([
        'cold',
        [expect.stringContaining('damaged at both ends')],
      ]);
      await saveSome();
      expect((await load(place, await serve(place))).loader.statistics.loaded).toBe(20);
    });
  }

  it('for it is an empty file is replaced, and nothing is said', async () => {
    fs.writeFileSync(place.snapshotPath, '');
    const { log } = await load(place, await serve(place));
    expect(log).toEqual([]);
    await saveSome();
  });

  it('with more segments than the file has room for ends all the same', async () => {
    const content = await saveSome();
    content.writeUInt32LE(0xffffffff, 28);
    content.writeUInt32LE(crc32(content.subarray(0, 56)), 56);
    fs.writeFileSync(place.snapshotPath, content);
    const { loader } = await load(place, await serve(place));
    expect([loader.state, loader.statistics.loaded]).toEqual(['done', 20]);
  });
});
