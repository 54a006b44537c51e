"""The style sheet of the page: light and dark, wide and narrow, paper too.

Blue and orange are told apart by every kind of colour vision (Okabe and Ito), and by lightness alone.
"""

CSS = """
:root { color-scheme: light dark;
  --page: #ffffff; --ink: #1d2127; --faint: #636b75; --line: #dfe3e8; --soft: #f4f6f8;
  --bar: #0072b2; --read: #a9cfe8; --lost: #d55e00; --mark: #cfe6f5; --markink: #003b5f; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14171b; --ink: #e4e7eb; --faint: #98a1ac; --line: #2d333b; --soft: #1c2026;
  --bar: #56b4e9; --read: #2b5673; --lost: #e69f00; --mark: #17435f; --markink: #d3ecfb; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 68rem; padding: 2.2rem 1.2rem 5rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 2rem; line-height: 1.15; margin: 0; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.4rem; line-height: 1.2; margin: 3.4rem 0 0; padding-top: 1.1rem; letter-spacing: -0.01em;
  border-top: 2px solid var(--ink); overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 2rem 0 .5rem; }
p { margin: .45rem 0; max-width: 54rem; }
a { color: inherit; text-decoration-color: var(--bar); text-underline-offset: 3px; }
.lead, .note, small { color: var(--faint); }
.lead { font-size: 1.06rem; }
code, pre, .tokens { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; }
code { font-size: .88em; overflow-wrap: anywhere; }
pre { font-size: .82rem; line-height: 1.55; background: var(--soft); padding: .8rem 1rem; margin: .6rem 0;
  border-radius: 6px; overflow-x: auto; }
nav { margin: 1.1rem 0 0; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.6rem, 1fr)); gap: 1.1rem 1.5rem;
  margin: 1.8rem 0 0; padding: 0; }
.tiles div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.tiles dt { color: var(--faint); font-size: .88rem; line-height: 1.35; }
.tiles dd { margin: 0; font-size: 1.75rem; line-height: 1.2; font-weight: 600; letter-spacing: -0.02em;
  white-space: nowrap; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .9rem .28rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--line); }
th { font-weight: 500; color: var(--faint); }
thead th { vertical-align: bottom; }
td.n, th.n { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
tr.sum td { font-weight: 600; border-bottom: 0; }
.wide { width: 100%; }
.differs { font-weight: 650; }
.mix { display: grid; grid-template-columns: max-content 1fr max-content max-content;
  grid-auto-flow: row dense;
  gap: .5rem .9rem; align-items: center; margin: .9rem 0 .3rem; font-variant-numeric: tabular-nums; }
.mix .k { grid-column: 1; } .mix .v { grid-column: 3; text-align: right; white-space: nowrap; }
.mix .s { grid-column: 4; text-align: right; color: var(--faint); }
.mix svg { grid-column: 2; display: block; width: 100%; height: 1.15rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr));
  gap: 1.7rem 2rem;
  margin: 1.1rem 0 0; align-items: start; }
figure { margin: 0; }
.charts figcaption { font-weight: 600; font-size: .95rem; line-height: 1.3; margin-bottom: .35rem; }
.charts figcaption small { font-weight: 400; font-size: .86rem; }
.charts svg { display: block; width: 100%; height: auto; max-width: 30rem; }
svg text { font: 11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  fill: var(--faint);
  font-variant-numeric: tabular-nums; }
svg text.name { font-weight: 600; font-size: 12px; fill: var(--ink); }
svg .unit { font-weight: 400; font-size: 11px; fill: var(--faint); }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--faint); stroke-width: 1; }
.bar { fill: var(--bar); } .read { fill: var(--read); } .lost { fill: var(--lost); }
rect:hover { opacity: .75; }
.sample { margin: .9rem 0 0; }
.sample figcaption { font-size: .86rem; color: var(--faint); }
.tokens { font-size: .78rem; line-height: 1.75; margin: .25rem 0 0; padding: .6rem .8rem;
  background: var(--soft);
  border-radius: 6px; max-width: none; overflow-wrap: anywhere; color: var(--faint); }
.tokens mark { background: var(--mark); color: var(--markink); border-radius: 3px; padding: .08em .3em; }
.tokens.all { color: var(--ink); }
.tokens em { font-style: italic; }
.below { font-size: .88rem; margin: .45rem 0 0; max-width: none; }
u { text-decoration-color: var(--bar); text-decoration-thickness: 2px; text-underline-offset: 3px; }
details { margin: .8rem 0 0; } summary { cursor: pointer; color: var(--faint); font-size: .92rem; }
summary:hover { color: var(--ink); }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 0; }
.key.b { background: var(--bar); } .key.r { background: var(--read); } .key.o { background: var(--lost); }
@media (max-width: 40rem) { body { padding-top: 1.4rem; } h1 { font-size: 1.6rem; }
  .tiles dd { font-size: 1.4rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); } th, td { padding-right: .65rem; }
  .mix { grid-template-columns: 1fr max-content 3.4rem; grid-auto-flow: row; gap: .15rem .9rem; }
  .mix .v { grid-column: 2; } .mix .s { grid-column: 3; } .mix svg { grid-column: 1 / -1;
  margin-bottom: .5rem; } }
@media print { body { max-width: none; } h2, figure { break-inside: avoid; } nav { display: none; } }
"""
