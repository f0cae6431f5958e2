/**
 * What two readings, one after the other, mean: how long tasks stalled, and how much room is missing
 * or to spare. No state, no time of its own.
 */

import type { PressureReadings, Room, Stalls } from './pressure-readings.ts';

/** The state of the memory at one tick. Shares are of time, 0 to 1. */
export interface Pressure {
  /** Time in which tasks waited for memory since the tick before; a full stall counts four times. */
  readonly stallShare: number;
  /** No stalls now, and hardly any in the last 10 s. */
  readonly isQuiet: boolean;
  /** Whether stalls are known at all. */
  readonly hasStalls: boolean;
  /** What has to be freed to get the reserve back; 0 when there is enough. */
  readonly groupDeficitBytes: number;
  readonly machineDeficitBytes: number;
  /** What may be taken until only twice the reserve is left; negative when that is gone. */
  readonly groupSpareBytes: number;
  readonly machineSpareBytes: number;
  /** Everything stands still at times, or the reserve is nearly used up: no time for patience. */
  readonly isSevere: boolean;
}

const MIB = 1024 ** 2;

/** Below this share of time stalls are noise. */
const QUIET_SHARE = 0.002;
/** The kernel's average over 10 s halves in about 7 s: below this it only remembers. */
const QUIET_SHARE_10S = 0.01;
/** Above this the average counts beside the growth, as long as the stalls go on. */
const LASTING_SHARE_10S = 0.05;
/** Of all tasks at once; from here on it is severe. */
const SEVERE_FULL_SHARE = 0.1;
/** A full stall is counted as some as well: three more make four. */
const FULL_WEIGHT_MORE = 3;
/** Between two readings that are closer than this, growth says nothing. */
const ELAPSED_MS_MIN = 50;
/** Of its reserve, what must be left before it is severe. */
const SEVERE_RESERVE_SHARE = 1 / 4;

/** What is to be left free below a group's limit, bytes: for bursts of everything else in it. */
function groupReserve({ limitBytes }: Room): number {
  return Math.min(Math.max(limitBytes / 16, 8 * MIB), 512 * MIB);
}

/** What is to be left available on the machine, bytes. */
function machineReserve({ limitBytes }: Room): number {
  return Math.min(Math.max(limitBytes / 20, 64 * MIB), 2048 * MIB);
}

interface StallMeasure {
  readonly share: number;
  readonly fullShare: number;
  readonly isQuiet: boolean;
}

const NO_STALLS: StallMeasure = { share: 0, fullShare: 0, isQuiet: true };

/** The growth between two totals as a share of the time; 0 when it cannot be told. */
function growthShare(nowUs: number, beforeUs: number | undefined, elapsedMs: number): number {
  if (beforeUs === undefined || nowUs < beforeUs || elapsedMs < ELAPSED_MS_MIN) return 0;
  return Math.min(1, (nowUs - beforeUs) / 1000 / elapsedMs);
}

function measureStalls(
  now: Stalls | undefined,
  before: Stalls | undefined,
  elapsedMs: number,
): StallMeasure {
  if (now === undefined) return NO_STALLS;
  const some = growthShare(now.someTotalUs, before?.someTotalUs, elapsedMs);
  const full = growthShare(now.fullTotalUs, before?.fullTotalUs, elapsedMs);
  const isOver = some < QUIET_SHARE && full < QUIET_SHARE;
  const lasting = !isOver && now.someShare10s >= LASTING_SHARE_10S ? now.someShare10s : 0;
  return {
    share: Math.min(1, Math.max(some + FULL_WEIGHT_MORE * full, lasting)),
    fullShare: full,
    isQuiet: isOver && now.someShare10s < QUIET_SHARE_10S,
  };
}

/**
 * The pressure at a tick, `elapsedMs` after the one whose readings were `before`. Stalls of the
 * machine count where those of the group are unknown, or where the machine itself is short of memory:
 * otherwise they are a neighbour's, stuck at a limit of its own, and nothing freed here would help it.
 */
export function pressureOf(
  now: PressureReadings,
  before: PressureReadings | undefined,
  elapsedMs: number,
): Pressure {
  let groupDeficitBytes = 0;
  let groupSpareBytes = Number.POSITIVE_INFINITY;
  let isShort = false;
  for (const room of now.groupRooms) {
    const reserve = groupReserve(room);
    groupDeficitBytes = Math.max(groupDeficitBytes, reserve - room.freeBytes);
    groupSpareBytes = Math.min(groupSpareBytes, room.freeBytes - 2 * reserve);
    isShort ||= room.freeBytes < reserve * SEVERE_RESERVE_SHARE;
  }
  const machine = now.machineRoom;
  const reserve = machine === undefined ? 0 : machineReserve(machine);
  const available = machine?.freeBytes ?? Number.POSITIVE_INFINITY;
  const machineSpareBytes = available - 2 * reserve;
  isShort ||= available < reserve * SEVERE_RESERVE_SHARE;

  const group = measureStalls(now.groupStalls, before?.groupStalls, elapsedMs);
  const countsMachine = now.groupStalls === undefined || machineSpareBytes < 0;
  const whole = countsMachine
    ? measureStalls(now.machineStalls, before?.machineStalls, elapsedMs)
    : NO_STALLS;
  return {
    stallShare: Math.max(group.share, whole.share),
    isQuiet: group.isQuiet && whole.isQuiet,
    hasStalls: now.groupStalls !== undefined || now.machineStalls !== undefined,
    groupDeficitBytes,
    machineDeficitBytes: Math.max(0, reserve - available),
    groupSpareBytes,
    machineSpareBytes,
    isSevere: isShort || Math.max(group.fullShare, whole.fullShare) >= SEVERE_FULL_SHARE,
  };
}
