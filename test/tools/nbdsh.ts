/** Sessions of libnbd, written in Python: what no command line can ask for. */

import fs from 'node:fs';
import path from 'node:path';
import { runWell } from './programs.ts';
import type { TestServer } from './server.ts';

/** What every session begins with. Strict mode off lets libnbd send what it knows to be wrong. */
const PREAMBLE = `
import errno, nbd, random
KIB, MIB = 1 << 10, 1 << 20

def connect(structured=True, context=False, uri=URI):
    h = nbd.NBD()
    h.set_request_structured_replies(structured)
    if context:
        h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    h.set_strict_mode(0)
    h.connect_uri(uri)
    assert h.get_structured_replies_negotiated() == structured
    return h

def refused(number, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except nbd.Error as error:
        assert error.errnum == number, f"{call} {arguments}: {error}"
        return
    raise AssertionError(f"{call} {arguments} was not refused")

def same(one, other, what):
    one, other = bytes(one), bytes(other)
    if one == other:
        return
    assert len(one) == len(other), f"{what}: {len(one)} bytes, not {len(other)}"
    at = next(i for i in range(len(one)) if one[i] != other[i])
    raise AssertionError(f"{what}: byte {at} is {one[at]}, not {other[at]}")

def file_bytes(length, offset, path=IMAGE):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)

def drain(h):
    while h.aio_in_flight() > 0:
        h.poll(-1)
`;

/**
 * Runs `script` in nbdsh; an exception in it, so a failed assertion too, rejects. It may use what
 * the preamble defines, and IMAGE, the path of the image that is served by default.
 */
export async function nbdsh(server: TestServer, image: string, script: string): Promise<void> {
  const names = `URI = ${JSON.stringify(server.uri())}\nIMAGE = ${JSON.stringify(image)}\n`;
  // From a file, so that Python shows the lines that an exception came through.
  const file = path.join(path.dirname(image), 'session.py');
  fs.writeFileSync(file, names + PREAMBLE + script);
  await runWell('nbdsh', ['-c', `exec(compile(open("${file}").read(), "${file}", "exec"))`]);
}
