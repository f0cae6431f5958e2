/**
 * The two queues that a program shares with the kernel: submissions, which say what to do, and
 * completions, which say what came of it. Source: io_uring(7), <linux/io_uring.h>.
 */

import { getSystemErrorName } from 'node:util';
import { setUint64 } from '../../lib/uint64.ts';
import { PARAMETERS_BYTES, RING_OFFSET, type UringCalls } from './system-calls.ts';

/** What a submission asks for. */
export const OPERATION = { read: 22, write: 23, send: 26 } as const;

/** How a submission goes with others. */
export const SUBMISSION_FLAG = {
  /** The next submission begins when this one has ended, however it ended. */
  hardLink: 1 << 3,
  /** No completion is posted but for a failure. */
  skipSuccess: 1 << 6,
} as const;

/** Of setup: an error in one submission leaves the others alone; completions interrupt nothing. */
const SETUP_SUBMIT_ALL = 1 << 7;
const SETUP_COOPERATIVE = 1 << 8;

/** Of the kernel: one map has both queues; no completion is lost; `skipSuccess` is known. */
const FEATURES_NEEDED = (1 << 0) | (1 << 1) | (1 << 11);

/** Words of 32 bits: of a submission, of a completion, and where `io_uring_params` has what. */
const SUBMISSION_WORDS = 16;
const COMPLETION_WORDS = 4;
const PARAMETER = { sqEntries: 0, cqEntries: 1, flags: 2, features: 5, sq: 10, cq: 20 } as const;

/** The queues of one ring, used by one thread. Never closed: they end with the process. */
export class Queues {
  /** How many submissions fit. */
  readonly capacity: number;
  readonly #calls: UringCalls;
  readonly #ring: number;
  /** Both queues' heads and tails, and the completions. */
  readonly #words: Uint32Array;
  readonly #submissions: Uint32Array;
  readonly #submissionTailAt: number;
  readonly #completionHeadAt: number;
  readonly #completionTailAt: number;
  readonly #completionsAt: number;
  readonly #submissionMask: number;
  readonly #completionMask: number;
  #tail = 0;
  #head = 0;
  #pendingCount = 0; // pushed and not yet taken by the kernel

  /** Of the completion that `next` found: what was pushed with it, and its result. */
  token = 0;
  /** Bytes moved, or the negative errno. */
  result = 0;

  /** Rings with room for `capacity` submissions, a power of two; a string says why there is none. */
  static open(calls: UringCalls, capacity: number): Queues | string {
    const bytes = Buffer.alloc(PARAMETERS_BYTES);
    const parameters = new Uint32Array(bytes.buffer, bytes.byteOffset, PARAMETERS_BYTES / 4);
    parameters[PARAMETER.flags] = SETUP_SUBMIT_ALL | SETUP_COOPERATIVE;
    const ring = calls.setup(capacity, bytes);
    if (ring < 0) return `the system answered ${getSystemErrorName(ring)}`;
    const features = parameters[PARAMETER.features]!;
    if ((features & FEATURES_NEEDED) !== FEATURES_NEEDED) {
      calls.close(ring);
      return 'the kernel is too old';
    }
    const sqEntries = parameters[PARAMETER.sqEntries]!;
    const words = calls.map(ring, queuesBytes(parameters), RING_OFFSET.queues);
    const submissionsBytes = sqEntries * SUBMISSION_WORDS * 4;
    const submissions = calls.map(ring, submissionsBytes, RING_OFFSET.submissions);
    if (words === undefined || submissions === undefined) {
      calls.close(ring);
      return 'its memory cannot be mapped';
    }
    return new Queues(calls, ring, parameters, words, submissions);
  }

  private constructor(
    calls: UringCalls,
    ring: number,
    parameters: Uint32Array,
    words: ArrayBuffer,
    submissions: ArrayBuffer,
  ) {
    this.#calls = calls;
    this.#ring = ring;
    this.#words = new Uint32Array(words);
    this.#submissions = new Uint32Array(submissions);
    const { sq, cq } = PARAMETER;
    const at = (index: number) => parameters[index]! / 4;
    this.#submissionTailAt = at(sq + 1);
    this.#completionHeadAt = at(cq);
    this.#completionTailAt = at(cq + 1);
    this.#completionsAt = at(cq + 5);
    this.capacity = parameters[PARAMETER.sqEntries]!;
    this.#submissionMask = this.capacity - 1;
    this.#completionMask = parameters[PARAMETER.cqEntries]! - 1;
    // Submission i is always described at place i.
    const array = at(sq + 6);
    for (let i = 0; i < this.capacity; i++) this.#words[array + i] = i;
  }

  /** Submissions that the kernel has not taken yet. */
  get pendingCount(): number {
    return this.#pendingCount;
  }

  /**
   * Queues one submission; the caller never has more than `capacity` of them pending. `address` and
   * `length` name memory that must stay where it is until the completion; `offset` is the file's.
   */
  push(
    operation: number,
    flags: number,
    fd: number,
    offset: number,
    address: number,
    length: number,
    token: number,
  ): void {
    const words = this.#submissions;
    const at = (this.#tail & this.#submissionMask) * SUBMISSION_WORDS;
    words.fill(0, at, at + SUBMISSION_WORDS);
    words[at] = operation | (flags << 8);
    words[at + 1] = fd;
    setUint64(words, at + 2, offset);
    setUint64(words, at + 4, address);
    words[at + 6] = length;
    words[at + 8] = token;
    this.#tail = (this.#tail + 1) >>> 0;
    this.#pendingCount++;
  }

  /** Hands over what is pending. Answers 0, or the negative errno when the kernel took nothing. */
  submit(): number {
    Atomics.store(this.#words, this.#submissionTailAt, this.#tail);
    const taken = this.#calls.enter(this.#ring, this.#pendingCount);
    if (taken < 0) return taken;
    this.#pendingCount -= taken;
    return 0;
  }

  /** Takes back all that is pending, which the kernel then never looks at; answers the tokens. */
  withdraw(): number[] {
    const tokens: number[] = [];
    for (; this.pendingCount > 0; this.#pendingCount--) {
      this.#tail = (this.#tail - 1) >>> 0;
      tokens.push(this.#submissions[(this.#tail & this.#submissionMask) * SUBMISSION_WORDS + 8]!);
    }
    Atomics.store(this.#words, this.#submissionTailAt, this.#tail);
    return tokens.reverse();
  }

  /** Takes the next completion; no when there is none yet. */
  next(): boolean {
    const words = this.#words;
    if (this.#head === Atomics.load(words, this.#completionTailAt)) return false;
    const at = this.#completionsAt + (this.#head & this.#completionMask) * COMPLETION_WORDS;
    this.token = words[at]!;
    this.result = words[at + 2]! | 0;
    this.#head = (this.#head + 1) >>> 0;
    Atomics.store(words, this.#completionHeadAt, this.#head);
    return true;
  }
}

/** Both queues are in one map, as long as the farther one reaches. */
function queuesBytes(parameters: Uint32Array): number {
  const { sq, cq } = PARAMETER;
  const submissionsEnd = parameters[sq + 6]! + parameters[PARAMETER.sqEntries]! * 4;
  const completionsEnd =
    parameters[cq + 5]! + parameters[PARAMETER.cqEntries]! * COMPLETION_WORDS * 4;
  return Math.max(submissionsEnd, completionsEnd);
}
