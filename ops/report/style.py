"""The page's style sheet: one palette for light, one for dark, both with text at 4.5:1 at least."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #faf9f6; --card: #ffffff; --ink: #1d1c1a; --soft: #5d5a54; --line: #dfdbd2;
  --good: #0d6a4c; --bad: #a92f1c; --open: #7a5200; --link: #14538f; --hover: #efece5; --edge: #0003;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #141513; --card: #1c1e1b; --ink: #edece7; --soft: #a9a79f; --line: #363832;
    --good: #6bcba4; --bad: #ff9c87; --open: #e6ba62; --link: #8fc1f5; --hover: #282a26; --edge: #fff3;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  text-size-adjust: 100%; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
header, main, footer { max-width: 68rem; margin-inline: auto; padding-inline: clamp(1rem, 4vw, 2.5rem); }
header { padding-block: clamp(2rem, 7vw, 4.5rem) 0; }
footer { padding-block: 1.5rem 3rem; color: var(--soft); font-size: .875rem; }
h1 { margin: 0; font-size: .875rem; font-weight: 600; letter-spacing: .01em; }
h2 { margin: 0 0 1.25rem; font-size: 1.25rem; line-height: 1.3; font-weight: 650; letter-spacing: -.01em; }
p { margin: 0; max-width: 42rem; }
section { margin-block: clamp(2.75rem, 7vw, 4.5rem); scroll-margin-top: 1rem; }
section > p + *, section > * + p { margin-top: 1.25rem; }
a { color: var(--link); text-underline-offset: .2em; text-decoration-thickness: .06em; }
a:hover { text-decoration-thickness: .14em; }
:focus-visible { outline: .1875rem solid var(--link); outline-offset: .125rem; border-radius: .125rem; }
time { white-space: nowrap; }
.period, .note { color: var(--soft); font-size: .875rem; }
.period { margin-top: .25rem; }
:is(.status, .state, .lede strong, .figure span).good { color: var(--good); }
:is(.status, .state, .lede strong, .figure span).open { color: var(--open); }
:is(.status, .state, .lede strong, .figure span).bad { color: var(--bad); }
.status { margin-top: clamp(1.25rem, 4vw, 2rem); padding: clamp(1rem, 3vw, 1.75rem); background: var(--card);
  border: 1px solid var(--line); border-left: .375rem solid currentColor; border-radius: .5rem; }
.verdict { font: 400 clamp(1.75rem, 1.3rem + 2.2vw, 2.75rem)/1.2 Charter, "Bitstream Charter", Cambria,
  Georgia, serif; letter-spacing: -.012em; text-wrap: balance; }
.status .note { margin-top: .375rem; }
.actions { list-style: none; margin: 1rem 0 0; padding: 0; color: var(--ink); }
.actions li { padding-block: .875rem; border-top: 1px solid var(--line); }
.actions li:last-child { padding-bottom: 0; }
.reason { max-width: none; }
.amount { font-weight: 600; }
.do { margin-top: .25rem; display: flex; flex-wrap: wrap; gap: .375rem 1rem; align-items: baseline; }
code { font: .875rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--hover);
  padding: .125rem .375rem; border-radius: .25rem; }
.lede { margin-bottom: 1.5rem; max-width: 48rem; text-wrap: pretty; font-size: 1.125rem; }
.lede strong { font-weight: 600; }
.lede em { font-style: normal; font-weight: 600; color: var(--bad); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0;
  margin: clamp(1.5rem, 5vw, 2.5rem) 0 0; font-size: .9375rem; }
nav a { padding-block: .375rem; }
.cards { display: grid; gap: 1px; margin: 0; background: var(--line); border: 1px solid var(--line);
  border-radius: .5rem; overflow: hidden; grid-template-columns: repeat(2, minmax(0, 1fr)); }
@media (min-width: 48rem) { .cards { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
.card { background: var(--card); padding: clamp(.875rem, 2.5vw, 1.5rem); }
.card dt { color: var(--soft); font-size: .875rem; }
.card dd { margin: 0; }
.card .figure { margin-top: .25rem; font-size: clamp(1.25rem, 1rem + 1.4vw, 1.875rem); line-height: 1.25;
  font-weight: 600; letter-spacing: -.02em; }
.card .figure + .figure { margin-top: 0; }
.card .figure.many { font-size: clamp(1rem, .9rem + .6vw, 1.25rem); }
.card .note { margin-top: .25rem; }
.note.bad { color: var(--bad); font-weight: 600; }
.card small { font-size: .6em; font-weight: 500; letter-spacing: 0; color: var(--soft); }
.charts { display: grid; gap: 2.5rem clamp(1.5rem, 4vw, 3rem);
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); margin-bottom: 1.5rem; }
.charts + .note { margin-bottom: 2rem; }
.troubles { margin-bottom: 1.5rem; }
.chart { margin: 0; --tone: var(--good); }
.chart.bad { --tone: var(--bad); }
.chart.plain { --tone: var(--soft); }
.chart.open { --tone: var(--open); }
.chart figcaption { display: flex; justify-content: space-between; gap: 1rem; font-weight: 600; }
.chart-figure { text-align: right; }
.chart svg { display: block; width: 100%; height: 7rem; margin-top: .75rem; }
.chart .slot { fill: transparent; }
.chart g:hover .slot { fill: var(--hover); }
.chart .bar { fill: var(--tone); }
.chart .none { fill: var(--soft); }
.chart .trouble { fill: var(--bad); fill-opacity: .28; }
.chart .base { stroke: var(--line); stroke-width: 2; vector-effect: non-scaling-stroke; }
.axis { display: flex; justify-content: space-between; margin-top: .375rem; color: var(--soft);
  font-size: .8125rem; }
.scroll { overflow: auto; max-height: 30rem; border: 1px solid var(--line); border-radius: .5rem;
  background: linear-gradient(to right, var(--card) 40%, transparent) left / 3rem 100% no-repeat local,
    linear-gradient(to left, var(--card) 40%, transparent) right / 3rem 100% no-repeat local,
    linear-gradient(to right, var(--edge), transparent) left / .75rem 100% no-repeat scroll,
    linear-gradient(to left, var(--edge), transparent) right / .75rem 100% no-repeat scroll, var(--card); }
.table + .table { margin-top: 2rem; }
.table .note { margin-top: .5rem; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .9375rem;
  overflow-wrap: normal; }
caption { position: sticky; left: 0; text-align: left; padding: .75rem 1rem; color: var(--soft);
  font-size: .875rem; }
caption span { display: inline-block; max-width: min(60rem, 100vw - 5rem); }
th, td { padding: .5rem 1rem; text-align: left; vertical-align: top; white-space: nowrap; font-weight: 400;
  border-top: 1px solid var(--line); }
thead th { position: sticky; top: 0; background: var(--card); color: var(--soft); font-size: .8125rem;
  border-bottom: 1px solid var(--line); }
tbody tr:first-child > * { border-top: 0; }
tbody tr:hover > * { background: var(--hover); }
.number { text-align: right; }
.words { white-space: normal; min-width: 15rem; overflow-wrap: anywhere; }
td.words strong { font-weight: 600; }
.state { font-weight: 600; }
.notes { margin: 0; padding-left: 1.125rem; max-width: 42rem; }
.notes li + li { margin-top: .625rem; }
.quiet { color: var(--soft); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (forced-colors: active) {
  .chart .bar, .chart .trouble { fill: CanvasText; } .chart .none { fill: GrayText; } }
@media print { nav { display: none; } .scroll { max-height: none; overflow: visible; border: 0; }
  thead th, caption { position: static; } }
"""
