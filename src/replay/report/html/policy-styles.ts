/** The look of each policy, the same in every chart of a report. */

import { type LineStyle, styleOfSeries } from '../charts/line-chart.ts';
import { FLOOR_POLICY, type ReplayReport } from '../report.ts';

const FLOOR_STYLE: LineStyle = { colour: 'var(--ink)', dash: [1.5, 3], width: 1.6 };

/** The line of first uses, which no cache can avoid. */
export const COLD_STYLE: LineStyle = { colour: 'var(--muted)', dash: [12, 5], width: 1.2 };

/** Styles by policy, the recommended one first and drawn through. */
export function policyStyles({ advice, curves }: ReplayReport): ReadonlyMap<string, LineStyle> {
  const others = curves
    .map(({ policy }) => policy)
    .filter((policy) => policy !== advice.policy && policy !== FLOOR_POLICY);
  const styles = [advice.policy, ...others].map((policy, index): [string, LineStyle] => [
    policy,
    styleOfSeries(index),
  ]);
  return new Map([...styles, [FLOOR_POLICY, FLOOR_STYLE]]);
}

/** The style of a policy. */
export function styleOf(styles: ReadonlyMap<string, LineStyle>, policy: string): LineStyle {
  return styles.get(policy) ?? FLOOR_STYLE;
}

/** What a policy is called in a legend. */
export function policyTitle(policy: string): string {
  return policy === FLOOR_POLICY ? 'belady (floor: knows the future)' : policy;
}
