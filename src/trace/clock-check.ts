/** Whether times make sense: a unit that was mistaken shows in the span, the date and the rate. */

/** No trace that is known spans more. */
const SPAN_S_MAX = 2 * 366 * 86_400;
/** No storage answers more requests in a second. */
const RATE_MAX = 5e6;
/** A recorded disk is not that idle over many requests. */
const RATE_MIN = 0.05;
const REQUESTS_FOR_RATE = 1000;

const DAY_S = 86_400;

function showSpan(seconds: number): string {
  if (seconds >= DAY_S) return `${(seconds / DAY_S).toPrecision(3)} days`;
  return seconds >= 1 ? `${seconds.toPrecision(3)} s` : `${(seconds * 1000).toPrecision(3)} ms`;
}

/**
 * What to tell the user about `requests` between two times, which are microseconds if the unit is
 * right: a sentence without a full stop, or undefined where nothing is odd.
 */
export function clockWarning(
  requests: number,
  firstTimeUs: number,
  lastTimeUs: number,
): string | undefined {
  const spanS = (lastTimeUs - firstTimeUs) / 1e6;
  if (spanS < 0) {
    const back = `the last request is ${showSpan(-spanS)} before the first`;
    return `${back}: the times run backwards; sort the trace by time first`;
  }
  if (requests < REQUESTS_FOR_RATE) return undefined;
  const rate = spanS > 0 ? requests / spanS : Number.POSITIVE_INFINITY;
  const seen = `${requests} requests span ${showSpan(spanS)}`;
  if (spanS > SPAN_S_MAX || rate < RATE_MIN) {
    return `${seen}: the times may count a smaller unit; if so, say which with --time-unit (us, ns)`;
  }
  if (rate > RATE_MAX && spanS > 0) {
    return `${seen}: the times may count a larger unit; if so, say which with --time-unit (ms, s)`;
  }
  return undefined;
}
