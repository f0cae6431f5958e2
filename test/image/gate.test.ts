import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FormatName } from '../../src/image/format.ts';
import { driverOf } from '../../src/image/formats.ts';
import { type OpenImageOptions, openImage } from '../../src/image/open.ts';
import { TmemError } from '../../src/lib/errors.ts';
import { openFileStorage } from '../../src/storage/file.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';
import { needsPrograms } from '../tools/programs.ts';

/** An overlay in its own directory that names `backing`, whatever that is. */
function overlayOf(backing: string, directory = temporaryDirectory(), format = 'raw'): string {
  const file = path.join(directory, 'top.qcow2');
  create(file, backing, format);
  return file;
}

function create(file: string, backing?: string, backingFormat = 'qcow2'): void {
  const on = backing === undefined ? [] : ['-u', '-b', backing, '-F', backingFormat];
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...on, file, '1M']);
}

async function refusal(file: string, options: Partial<OpenImageOptions> = {}): Promise<TmemError> {
  try {
    const image = await openImage(file, { isReadOnly: true, ...options });
    await image.close();
  } catch (cause) {
    if (cause instanceof TmemError) return cause;
    throw cause;
  }
  return expect.fail(`${file} was opened`);
}

function openDescriptorCount(): number {
  return fs.readdirSync('/proc/self/fd').length;
}

describe('a name inside an image', () => {
  needsPrograms('qemu-img');

  const outside = () => {
    const file = path.join(temporaryDirectory(), 'secret.raw');
    fs.writeFileSync(file, Buffer.alloc(1 << 20, 7));
    return file;
  };

  it('that is absolute or climbs out leads nowhere, unless the operator allows it', async () => {
    const secret = outside();
    const top = overlayOf(secret);
    const climbing = overlayOf(path.relative(path.dirname(top), secret), temporaryDirectory());
    for (const file of [top, climbing]) {
      const failure = await refusal(file);
      expect(failure.kind).toBe('permission');
      expect(failure.message).toContain(`"${file}" names the backing file `);
      expect(failure.message).toContain(`allow it with --allow-backing "${path.dirname(secret)}"`);
      const allowBacking = [path.dirname(secret)];
      const image = await openImage(file, { isReadOnly: true, allowBacking });
      const byte = Buffer.alloc(1);
      await image.read(byte, 0, 1, 5000);
      expect(byte[0]).toBe(7);
      await image.close();
    }
  });

  it('leads into no directory whose name only begins like one that is allowed', async () => {
    const directory = temporaryDirectory();
    for (const name of ['images', 'images-secret']) fs.mkdirSync(path.join(directory, name));
    fs.writeFileSync(path.join(directory, 'images-secret', 'secret.raw'), Buffer.alloc(512));
    const top = overlayOf('../images-secret/secret.raw', path.join(directory, 'images'));
    expect((await refusal(top)).message).toContain('--allow-backing');
  });

  it.each(['/etc/@', '/etc/@/file'])('tells nothing of what is elsewhere: %s', async (name) => {
    const [there, none] = await Promise.all(
      ['passwd', 'no-such'].map(async (each) => {
        const { message } = await refusal(overlayOf(name.replace('@', each)));
        // Which directory to allow follows from the name alone.
        return message
          .replaceAll(each, 'x')
          .replace(/tmem-test-\w+/, '')
          .split('; allow')[0];
      }),
    );
    expect(there).toBe(none);
    expect(there).toContain('elsewhere');
  });

  it('tells of a directory that is not there where files may be', async () => {
    const { message } = await refusal(overlayOf('nowhere/base.raw'));
    expect(message).toContain('there is no such file');
  });

  it('that is or goes through a link is seen for what it is', async () => {
    const directory = temporaryDirectory();
    const secret = outside();
    fs.symlinkSync(secret, path.join(directory, 'link.raw'));
    fs.symlinkSync(path.dirname(secret), path.join(directory, 'linked'));
    const link = await refusal(overlayOf('link.raw', directory));
    expect(link.message).toContain('which is a symbolic link');
    const through = await refusal(overlayOf('linked/secret.raw', directory));
    expect(through.message).toContain('--allow-backing');
    expect(through.message).not.toContain('symbolic');
  });

  it.each([
    ['json:{"driver":"file","filename":"/etc/passwd"}', 'protocol'],
    ['nbd:localhost:10809', 'protocol'],
    ['file:base.raw', 'protocol'],
    ['/dev/null', '/dev'],
    ['/dev/sda', '/dev'],
    ['/proc/self/mem', '/proc'],
    ['/sys/power/state', '/sys'],
  ])('%s is refused whatever is allowed', async (name, reason) => {
    const failure = await refusal(overlayOf(name), { allowBacking: ['/'] });
    expect(failure).toMatchObject({ kind: 'permission', message: expect.stringContaining(reason) });
  });

  it('that is no regular file is refused without opening it', async () => {
    const directory = temporaryDirectory();
    execFileSync('mkfifo', [path.join(directory, 'pipe.raw')]);
    fs.mkdirSync(path.join(directory, 'folder.raw'));
    for (const name of ['pipe.raw', 'folder.raw']) {
      const { message } = await refusal(overlayOf(name, directory));
      expect(message).toContain('no regular file');
    }
  });

  it('is escaped and cut in messages', async () => {
    const { message } = await refusal(overlayOf(`x\u001b[2J\u202e"${'y'.repeat(500)}:z`));
    expect(message).toContain('\\u001b[2J\\u202e\\"yyy');
    expect(message.length).toBeLessThan(500);
    expect(message).toMatch(/^[\x20-\x7e]+$/);
  });

  it('of a file that is missing says so, and for which image', async () => {
    const failure = await refusal(overlayOf('gone.raw'));
    expect(failure.kind).toBe('not-found');
    expect(failure.message).toContain('needs the backing file "gone.raw": there is no such file');
  });

  it('is not opened to look at the image', async () => {
    const top = overlayOf('/proc/self/mem');
    const storage = await openFileStorage(top, { isReadOnly: true, isContainer: true });
    const info = await (await driverOf('qcow2')).info(storage);
    expect(info.backing).toMatchObject({ name: '/proc/self/mem', formatName: 'raw' });
    await storage.close();
  });

  it('without a format is refused until the operator says which', async () => {
    const directory = temporaryDirectory();
    fs.writeFileSync(path.join(directory, 'base.raw'), Buffer.alloc(1000, 5));
    const top = path.join(directory, 'top.qcow');
    const on = ['-u', '-b', 'base.raw', '-F', 'raw']; // which this format has no place for
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow', ...on, top, '1M']);
    expect((await refusal(top)).message).toContain('--backing-format');
    const image = await openImage(top, { isReadOnly: true, backingFormatName: 'raw' });
    const bytes = Buffer.alloc(2);
    await image.read(bytes, 0, 2, 999);
    expect([...bytes]).toEqual([5, 0]);
    await image.close();
  });
});

describe('a chain of images', () => {
  needsPrograms('qemu-img');

  it('that comes back to itself is refused', async () => {
    const directory = temporaryDirectory();
    const file = (name: string) => path.join(directory, name);
    create(file('a.qcow2'), 'b.qcow2');
    create(file('b.qcow2'), 'a.qcow2');
    create(file('self.qcow2'), 'self.qcow2');
    create(file('c.qcow2'), 'again.qcow2');
    fs.linkSync(file('c.qcow2'), file('again.qcow2'));
    const before = openDescriptorCount();
    for (const name of ['a.qcow2', 'self.qcow2', 'c.qcow2']) {
      expect((await refusal(file(name))).message).toContain('the chain is a loop');
    }
    expect(openDescriptorCount()).toBe(before);
  });

  it('has at most ten images below the one on top', async () => {
    const directory = temporaryDirectory();
    const file = (depth: number) => path.join(directory, `${depth}.qcow2`);
    create(file(0));
    for (let depth = 1; depth <= 11; depth++) create(file(depth), `${depth - 1}.qcow2`);
    const image = await openImage(file(10), { isReadOnly: true });
    const owner = await image.ownerOf(0, 512);
    expect(owner).toEqual({ depth: 10, length: 512 });
    await image.close();
    expect((await refusal(file(11))).message).toContain('more than 10 images in a row');
  });

  it('resolves each name from where the image that says it really is', async () => {
    const directory = temporaryDirectory();
    fs.mkdirSync(path.join(directory, 'golden'));
    create(path.join(directory, 'golden', 'middle.qcow2'), 'base.qcow2');
    create(path.join(directory, 'golden', 'base.qcow2'));
    create(path.join(directory, 'top.qcow2'), 'golden/middle.qcow2');
    const link = path.join(temporaryDirectory(), 'link.qcow2');
    fs.symlinkSync(path.join(directory, 'top.qcow2'), link);
    const image = await openImage(link, { isReadOnly: true });
    expect(image.backing?.backing?.name).toBe(path.join(directory, 'golden', 'base.qcow2'));
    await image.close();
  });

  it('opens images below for reading only, and never one that is written here', async () => {
    const directory = temporaryDirectory();
    const file = (name: string) => path.join(directory, name);
    create(file('base.qcow2'));
    create(file('a.qcow2'), 'base.qcow2');
    create(file('b.qcow2'), 'base.qcow2');
    const a = await openImage(file('a.qcow2'), { isReadOnly: false });
    const b = await openImage(file('b.qcow2'), { isReadOnly: false });
    expect([a.isReadOnly, a.backing?.isReadOnly]).toEqual([false, true]);
    expect(a.backing?.identity).toBe(b.backing?.identity);
    expect(a.identity).not.toBe(b.identity);
    await b.close();
    const written = await refusal(file('base.qcow2'), { isReadOnly: false });
    expect(written).toMatchObject({ kind: 'busy' });
    await a.close();
    const base = await openImage(file('base.qcow2'), { isReadOnly: false });
    expect(await refusal(file('b.qcow2'))).toMatchObject({ kind: 'busy' });
    await base.close();
  });

  it('gives the passphrase to the image on top alone, unless told otherwise', async () => {
    const directory = temporaryDirectory();
    const base = path.join(directory, 'base.luks');
    const options = { isReadOnly: false, isContainer: true, isNew: true };
    const storage = await openFileStorage(base, options);
    const passphrase = Buffer.from('open sesame');
    const createFile = () => Promise.reject(new Error('one file is enough'));
    const luks = await driverOf('luks');
    await luks.create?.(storage, { sizeBytes: 1 << 20, settings: {}, createFile, passphrase });
    await storage.close();
    const top = overlayOf('base.luks', directory, 'luks');
    expect((await refusal(top, { passphrase })).message).toContain('passphrase');
    const image = await openImage(top, { isReadOnly: true, backingPassphrase: passphrase });
    expect(image.backing?.formatName).toBe('luks');
    await image.close();
  });

  it('shares no data file', async () => {
    const directory = temporaryDirectory();
    const file = (name: string) => path.join(directory, name);
    const options = ['-f', 'qcow2', '-o', 'data_file=data.raw'];
    execFileSync('qemu-img', ['create', '-q', ...options, file('a.qcow2'), '1M'], {
      cwd: directory,
    });
    fs.copyFileSync(file('a.qcow2'), file('b.qcow2'));
    const a = await openImage(file('a.qcow2'), { isReadOnly: false });
    expect(await refusal(file('b.qcow2'), { isReadOnly: false })).toMatchObject({ kind: 'busy' });
    await a.close();
  });
});

describe('the format of an image', () => {
  it('is that of its name, never of its content', async () => {
    const file = path.join(temporaryDirectory(), 'disk.raw');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', file, '1M']);
    const odd = await refusal(file);
    expect(odd.message).toContain('it begins as a qcow2 image does: say so with --format qcow2');
    execFileSync('truncate', ['-s', '%512', file]);
    const sizeBytes = fs.statSync(file).size;
    const warnings: string[] = [];
    const warn = (message: string) => warnings.push(message);
    const image = await openImage(file, { isReadOnly: true, warn });
    expect([image.formatName, image.virtualSizeBytes]).toEqual(['raw', sizeBytes]);
    expect(warnings).toEqual([
      `"${file}" begins as a qcow2 image does, and is taken for raw: say its format`,
    ]);
    await image.close();
    const formats: FormatName[] = ['raw', 'qcow2'];
    for (const formatName of formats) {
      const given = await openImage(file, { isReadOnly: true, formatName, warn });
      expect(given.formatName).toBe(formatName);
      await given.close();
    }
    expect(warnings.length).toBe(1);
  });
});
