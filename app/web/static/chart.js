// The size of a segment and who came and went, over the last hour.
const EVERY_MS = 5000;
const POINTS_MAX = 120;
const SHORTEST = 120; // buckets: ten minutes are shown, however short a time was measured
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

// light-dark() is resolved only where a property of type colour uses it.
function resolved(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value || colour(name);
}

function faded(rgb, alpha) { return rgb.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`); }

/** Columns for uPlot: instants, sizes as they were measured (null where they were not), entered, left (downwards). */
function columns(detail) {
  const flow = detail.flow;
  const first = flow.findIndex((point) => point.size !== null);
  const start = Math.max(0, Math.min(first < 0 ? flow.length : first, flow.length - SHORTEST));
  const shown = flow.slice(start);
  return merged([
    shown.map((point) => point.at / 1000), shown.map((point) => point.size),
    shown.map((point) => point.entered || null), shown.map((point) => point.exited ? -point.exited : null),
  ]);
}

/** At most POINTS_MAX points: neighbours become one, so that the bars stay wide enough to see. */
function merged(all) {
  const each = Math.ceil(all[0].length / POINTS_MAX);
  if (each < 2) return all;
  const ends = [];
  for (let i = all[0].length - 1; i >= 0; i -= each) ends.unshift(i);
  const group = (column, end) => column.slice(Math.max(0, end - each + 1), end + 1);
  const latest = (column, end) => group(column, end).findLast((size) => size !== null) ?? null;
  const total = (column, end) => group(column, end).reduce((sum, count) => sum + (count || 0), 0) || null;
  return [ends.map((i) => all[0][i]), ends.map((i) => latest(all[1], i)), ends.map((i) => total(all[2], i)), ends.map((i) => total(all[3], i))];
}

/** A measure with none beside it is a point: a line of one would not be seen. */
function lonely(plot) {
  const sizes = plot.data[1];
  return [...sizes.keys()].filter((i) => sizes[i] != null && sizes[i - 1] == null && sizes[i + 1] == null);
}

function options(width) {
  const line = resolved("--accent"), grid = resolved("--line"), dim = resolved("--dim");
  const bars = uPlot.paths.bars({ size: [0.7, 8] });
  const axis = { stroke: dim, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  return {
    width, height: 220, cursor: { points: { size: 6 } }, legend: { live: true },
    scales: {
      y: { range: (_, low, high) => { if (low == null) return [0, 2]; const room = Math.max(2, (high - low) * 0.15); return [Math.max(0, low - room), high + room]; } },
      flow: { range: (_, low, high) => { const most = Math.max(3, -(low ?? 0), high ?? 0); return [-most * 1.3, most * 7]; } },
    },
    axes: [{ ...axis, space: 70, values: (_, ticks) => ticks.map((tick) => clock.format(tick * 1000)) }, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => Number.isInteger(tick) ? tick.toLocaleString() : "") }],
    series: [
      { label: "at", value: (_, raw) => raw == null ? "–" : clock.format(raw * 1000) },
      { label: "people", stroke: line, width: 2, value: (_, raw) => raw == null ? "–" : raw.toLocaleString(), fill: faded(line, 0.12), points: { show: true, size: 4, fill: line, filter: lonely } },
      { label: "entered", scale: "flow", paths: bars, fill: faded(resolved("--in"), 0.75), width: 0, points: { show: false }, value: (_, raw) => raw == null ? "–" : String(raw) },
      { label: "left", scale: "flow", paths: bars, fill: faded(resolved("--out"), 0.75), width: 0, points: { show: false }, value: (_, raw) => raw == null ? "–" : String(-raw) },
    ],
  };
}

export function startChart() {
  const box = document.getElementById("chart");
  if (!box) return;
  let plot = null, data = null;
  const draw = () => {
    if (!data || !window.uPlot) return;
    if (plot) plot.destroy();
    plot = new uPlot(options(box.clientWidth), data, box);
  };
  const ask = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(`/api/segments/${encodeURIComponent(box.dataset.segment)}`);
      if (!answer.ok) return;
      data = columns(await answer.json());
      if (plot) plot.setData(data); else draw();
    } catch { /* the server is away; the next time */ }
  };
  new ResizeObserver(() => { if (plot) plot.setSize({ width: box.clientWidth, height: 220 }); }).observe(box);
  document.addEventListener("themechange", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  ask();
  setInterval(ask, EVERY_MS);
}
