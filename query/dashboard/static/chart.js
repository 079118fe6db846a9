// The time series. The chart is drawn by uPlot; what it shows is also a table.
import { label } from "./controls.js";
import { fill, h, table } from "./dom.js";
import { compact, count, dateTime, day, money, rate, tick } from "./format.js";

const DAYS = [1, 2, 7, 14, 28, 91, 182, 364].map((n) => n * 86400);
const STEPS = { minute: 60, quarter: 900, hour: 3600 };

/** Shows a metric over time and, dashed, over the period before. */
export function chart(el, view) {
  const { metric, granularity, timeZone, now, before } = view;
  const intraday = granularity in STEPS;
  const zone = intraday ? timeZone : "UTC";
  const rows = filled(now.rows, granularity, metric, view);
  if (!rows.length) {
    fill(el, h("p", { class: "quiet pad" }, "Nothing was counted in this time."));
    return () => {};
  }
  const old = before ? filled(before.rows, granularity, metric, { range: view.rangeBefore }).slice(0, rows.length) : [];
  const compared = old.some((r) => r.value);
  const xs = rows.map((r) => r.at);
  const data = [xs, rows.map((r) => r.value)];
  if (compared) data.push(xs.map((_, i) => old[i]?.value ?? null));
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const show = (v) => v === null || v === undefined ? "–" : view.kind === "rate" ? rate(String(v)) : view.kind === "money" ? money(String(v), view.currency) : count(v);
  const when = (at) => intraday ? dateTime(at * 1000, zone) : day(new Date(at * 1000).toISOString().slice(0, 10));
  const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const box = h("div", { class: "plot", role: "img", "aria-label": summary(view, rows, show, when) });
  const point = h("p", { class: "point quiet", "aria-hidden": "true" }, "\u00a0");
  fill(el, legend(compared), box, point, asTable(view, rows, compared && old, show, when));
  const plot = new window.uPlot({
    width: Math.max(200, box.clientWidth), height: 260, cursor: { points: { size: 7 } }, legend: { show: false },
    tzDate: (at) => window.uPlot.tzDate(new Date(at * 1000), zone),
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] } },
    axes: [
      { ...axis, values: (_, splits) => splits.map((at) => tick(at, zone, intraday)), space: 70, size: 32, incrs: intraday ? undefined : DAYS },
      { ...axis, size: 64, values: (_, splits) => splits.map((v) => view.kind === "rate" ? rate(String(v)) : compact(v)) },
    ],
    series: [
      {},
      { label: label(metric), stroke: color("--accent"), width: 2, fill: color("--wash"), spanGaps: false, points: { show: rows.length < 3 } },
      ...(compared ? [{ label: "Before", stroke: color("--quiet"), width: 1.5, dash: [5, 5], points: { show: false } }] : []),
    ],
    hooks: {
      setCursor: [(u) => {
        const i = u.cursor.idx;
        point.textContent = i === null || i === undefined ? "\u00a0"
          : `${when(xs[i])}: ${show(data[1][i])}` + (data[2] ? ` · before: ${show(data[2][i])}` : "");
      }],
    },
  }, data, box);
  const resize = new ResizeObserver(() => plot.setSize({ width: Math.max(200, box.clientWidth), height: 260 }));
  resize.observe(box);
  return () => {
    resize.disconnect();
    plot.destroy();
  };
}

/** The buckets of an answer as {at, value}. Between the first and the last none is missing; days begin with the range. */
function filled(rows, granularity, metric, { range }) {
  const value = (r) => r[metric] === null || r[metric] === undefined ? null : Number(r[metric]);
  const at = (text) => Date.parse(text.length === 10 ? text + "T00:00:00Z" : text) / 1000;
  const out = rows.map((r) => ({ at: at(r[granularity]), value: value(r) })).sort((a, b) => a.at - b.at);
  const step = STEPS[granularity] || (granularity === "day" ? 86400 : granularity === "week" ? 7 * 86400 : 0);
  if (!step || !out.length) return out;
  const none = /^(ctr|viewability|conversion_rate)$/.test(metric) ? null : 0;
  const all = granularity === "day" && out[0].at > at(range.start) ? [{ at: at(range.start), value: none }] : [];
  for (const point of out) {
    for (let last = all[all.length - 1]; last && point.at - last.at > step * 1.5; last = all[all.length - 1]) all.push({ at: last.at + step, value: none });
    all.push(point);
  }
  return all;
}

function legend(compared) {
  return h("p", { class: "quiet legend" }, h("span", { class: "line" }), "this range",
    compared && [h("span", { class: "line old" }), "the same time before"]);
}

function summary(view, rows, show, when) {
  const values = rows.filter((r) => r.value !== null);
  const top = values.reduce((a, b) => (b.value > a.value ? b : a), values[0] || rows[0]);
  return `${label(view.metric)} by ${view.granularity}, from ${when(rows[0].at)} to ${when(rows[rows.length - 1].at)}; the highest is ${show(top.value)} at ${when(top.at)}. The table below has every value.`;
}

function asTable(view, rows, old, show, when) {
  const columns = [{ name: "at", text: label(view.granularity) }, { name: "now", text: label(view.metric), number: true }];
  if (old) columns.push({ name: "old", text: "Period before", number: true });
  const list = rows.map((r, i) => ({ at: r.at, now: r.value, old: old?.[i]?.value ?? null }));
  return h("details", null, h("summary", null, "As a table"),
    table("Figures of the chart", columns, list, (row, c) => c.name === "at" ? when(row.at) : show(row[c.name])));
}
