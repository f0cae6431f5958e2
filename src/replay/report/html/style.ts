/** The style sheet of the report: light, dark and paper from one set of variables. */

/**
 * Series colours have at least 3:1 against their background, differ in lightness, and keep apart
 * with every common colour blindness; lines differ by their dashes besides.
 */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fdfdfc; --card: #ffffff; --ink: #1b1f24; --muted: #5c6570; --rule: #e3e5e8;
  --grid: #eceef0; --axis: #b9bfc6; --shade: #f1f2f3; --accent: #0b63b0; --accent-soft: #eaf2fa;
  --s0: #0b63b0; --s1: #c2480a; --s2: #00795a; --s3: #9a3b86; --s4: #8a6500; --s5: #2f8fb8;
  --s6: #6a4fc0;
  --h1: #e4eef7; --h2: #c3dbee; --h3: #93c0df; --h4: #5d9fcb; --h5: #317bb2; --h6: #14578f;
  --h7: #08305f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --card: #1a1e23; --ink: #e8eaed; --muted: #a0a8b2; --rule: #2c3138;
    --grid: #262b31; --axis: #4d5560; --shade: #20252b; --accent: #6cb4f5; --accent-soft: #1a2938;
    --s0: #5fb0f7; --s1: #ff9052; --s2: #3ccf9f; --s3: #ec8fd2; --s4: #e3bd45; --s5: #93d5ee;
    --s6: #b3a2ff;
    --h1: #1d2b3a; --h2: #1f3d59; --h3: #22547f; --h4: #2a72ab; --h5: #4795d2; --h6: #85bfec;
    --h7: #d3eafc;
  }
}
* { box-sizing: border-box; }
html { font-size: 16px; -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 400 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, Cantarell,
    "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums lining-nums;
}
main { max-width: 68rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1 { margin: 0; font-size: 2.1rem; line-height: 1.2; letter-spacing: -.02em; font-weight: 650;
  overflow-wrap: anywhere; }
h2 { margin: 0 0 .5rem; font-size: 1.35rem; line-height: 1.3; letter-spacing: -.01em;
  font-weight: 650; }
p { margin: 0 0 .9rem; max-width: 46rem; }
a { color: var(--accent); text-underline-offset: .15em; }
code, pre { font-family: ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", Menlo, monospace;
  font-size: .86em; }
.eyebrow { margin: 0 0 .35rem; color: var(--muted); font-size: .85rem; letter-spacing: .02em; }
.about { margin: .4rem 0 0; color: var(--muted); }
.advice { margin: 2rem 0 1.5rem; padding: 1.2rem 1.5rem 1.25rem; background: var(--accent-soft);
  border-left: 4px solid var(--accent); border-radius: 3px; }
.advice p { max-width: 54rem; margin: 0; }
.advice .sentence { font-size: 1.28rem; line-height: 1.45; letter-spacing: -.005em; }
.advice ul { margin: .75rem 0 0; padding-left: 1.1rem; color: var(--muted); font-size: .94rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1px;
  margin: 0; background: var(--rule); border: 1px solid var(--rule); border-radius: 6px;
  overflow: hidden; }
.facts div { padding: .85rem 1.1rem .9rem; background: var(--card); }
.facts dt { color: var(--muted); font-size: .82rem; }
.facts dd { margin: .1rem 0 0; font-size: 1.32rem; line-height: 1.3; font-weight: 600;
  letter-spacing: -.01em; }
.facts dd small { display: block; color: var(--muted); font-size: .82rem; font-weight: 400;
  letter-spacing: 0; }
nav { margin: 1.75rem 0 0; font-size: .92rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.25rem; margin: 0; padding: 0;
  list-style: none; }
section { margin-top: 3.25rem; padding-top: 1.75rem; border-top: 1px solid var(--rule); }
.intro { color: var(--muted); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(27rem, 100%), 1fr));
  gap: 1.25rem; margin-top: 1.25rem; }
.pair figure { margin-top: 0; }
figure { margin: 1.25rem 0 0; padding: 1.1rem 1.25rem .9rem; background: var(--card);
  border: 1px solid var(--rule); border-radius: 6px; min-width: 0; }
figcaption { font-weight: 600; margin-bottom: .4rem; }
.chart svg { display: block; width: 100%; height: auto; overflow: visible; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.2rem; margin: 0 0 .6rem; padding: 0;
  list-style: none; font-size: .88rem; }
.legend li { display: flex; align-items: center; gap: .5rem; white-space: nowrap; }
.note { margin: .5rem 0 0; color: var(--muted); font-size: .88rem; }
details { margin-top: .6rem; font-size: .9rem; }
summary { color: var(--muted); cursor: pointer; width: max-content; }
summary:hover { color: var(--ink); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
.scroll { overflow-x: auto; margin-top: .75rem; }
details .scroll { max-height: 24rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.4; }
caption { text-align: left; white-space: nowrap; color: var(--muted); padding-bottom: .4rem; }
th, td { padding: .34rem .8rem .34rem 0; text-align: left; border-bottom: 1px solid var(--rule);
  white-space: nowrap; font-weight: 400; }
th:last-child, td:last-child { padding-right: .2rem; }
tbody :first-child { white-space: normal; overflow-wrap: anywhere; min-width: 6rem; }
thead th { color: var(--muted); font-size: .84rem; vertical-align: bottom; white-space: normal;
  border-bottom-color: var(--axis); }
.n { text-align: right; min-width: 3.9rem; }
.best { font-weight: 650; }
.many { font-size: .8rem; }
.many thead th { font-size: .76rem; }
.many th, .many td { padding-right: .5rem; }
.many .n { min-width: 3.3rem; }
.key { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.5rem; margin: 0;
  font-size: .93rem; }
.key dt { color: var(--muted); }
.key dd { margin: 0; overflow-wrap: anywhere; }
pre { margin: .75rem 0 1.25rem; padding: .8rem 1rem; background: var(--card);
  border: 1px solid var(--rule); border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.scale { display: inline-flex; vertical-align: -.1em; margin: 0 .4rem; border-radius: 2px;
  overflow: hidden; }
.scale i { width: 1.3rem; height: .8rem; }
.warning { padding: .7rem 1rem; border-left: 4px solid var(--s1); background: var(--card);
  max-width: none; }
@media (max-width: 40rem) {
  main { padding: 2rem 1rem 3rem; }
  h1 { font-size: 1.6rem; }
  .advice .sentence { font-size: 1.12rem; }
  .key { grid-template-columns: 1fr; gap: .1rem; }
  .key dd { margin-bottom: .6rem; }
  figure { padding: .9rem .8rem .7rem; }
  .legend li { white-space: normal; }
  .legend svg { flex: none; }
  .chart svg { min-width: 32rem; }
  .chart svg[viewBox^="0 0 960"] { min-width: 48rem; }
  .chart { overflow-x: auto; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  :root {
    color-scheme: light;
    --paper: #ffffff; --card: #ffffff; --ink: #000000; --muted: #444444; --rule: #cccccc;
    --grid: #e4e4e4; --axis: #888888; --shade: #efefef; --accent: #0b63b0; --accent-soft: #f3f6f9;
    --s0: #0b63b0; --s1: #c2480a; --s2: #00795a; --s3: #9a3b86; --s4: #8a6500; --s5: #2f8fb8;
    --s6: #6a4fc0;
    --h1: #e4eef7; --h2: #c3dbee; --h3: #93c0df; --h4: #5d9fcb; --h5: #317bb2; --h6: #14578f;
    --h7: #08305f;
  }
  html { font-size: 11px; }
  main { max-width: none; padding: 0; }
  nav, details:not([open]) { display: none; }
  figure, .advice, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .advice, .chart, .scale { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  section { margin-top: 1.75rem; padding-top: 1rem; }
}
`;
