// The figures of the whole range, with how they changed. A card chooses what
// the chart shows.
import { label } from "./controls.js";
import { fill, h, table } from "./dom.js";
import { change, count, money, NONE, rate } from "./format.js";
import { inMode } from "./state.js";

export const EVENTS = ["impressions", "viewable", "clicks", "conversions"];
const RATES = ["ctr", "viewability", "conversion_rate"];

/** The metrics of the totals report. */
export const TOTALS = EVENTS.flatMap((e) => [e, e + "_gross", e + "_duplicate", e + "_invalid"]).concat("clicks_orphan", RATES, "spend");

/** Shows cards of two totals answers, by currency; choose(metric, currency) is called with the one that is clicked. */
export function cards(el, s, now, before, choose) {
  const card = (metric, text, value, old, older) => h("button", {
    type: "button", class: "card metric", "data-metric": metric, "aria-pressed": String(s.metric === metric), onclick: () => choose(metric),
  }, h("span", { class: "name" }, text), h("span", { class: "value" }, value), delta(old, older));
  fill(el,
    EVENTS.map((e) => card(e, label(e), count(now.totals[inMode(e, s.mode)]), now.totals[inMode(e, s.mode)], before?.totals[inMode(e, s.mode)])),
    s.mode === "net" && RATES.map((r) => card(r, label(r), rate(now.totals[r]), now.totals[r], before?.totals[r])),
    s.mode === "net" && spends(now).map((row) => card(
      "spend", "Spend" + (row.currency ? " " + row.currency : ""), money(row.spend, row.currency), row.spend,
      before?.rows.find((r) => r.currency === row.currency)?.spend)));
}

/** The rows with spend; without any, one that says so. */
function spends(answer) {
  const rows = answer.rows.filter((r) => r.currency && r.spend !== null && Number(r.spend) !== 0);
  return rows.length ? rows : [{ currency: answer.rows.find((r) => r.currency)?.currency || "", spend: answer.rows.length ? "0" : null }];
}

function delta(now, before) {
  const text = change(now, before);
  if (!text) return h("span", { class: "delta" }, "no earlier figure");
  const up = Number(now) > Number(before), same = Number(now) === Number(before);
  return h("span", { class: "delta " + (same ? "" : up ? "up" : "down") },
    h("span", { "aria-hidden": "true" }, same ? "" : up ? "▲ " : "▼ "), text, h("span", { class: "hidden" }, " against the period before"));
}

/** The report that says why events were invalid. */
export function invalidByReason(base) {
  const filters = base.filters.concat({ dimension: "invalid_reason", op: "ne", values: [""] });
  const metrics = EVENTS.map((e) => e + "_invalid");
  return { filters, granularity: "total", dimensions: ["invalid_reason"], metrics, order_by: [{ field: metrics[0], direction: "desc" }], limit: 100 };
}

/** A set of reasons in words. */
function inWords(reasons) {
  const text = reasons.split(",").map((r) => r.replace(/_/g, " ")).join(" + ");
  return text[0].toUpperCase() + text.slice(1);
}

/** Shows how gross becomes net, and why events were invalid. */
export function reasons(el, answer, why) {
  const t = answer.totals;
  const rows = EVENTS.map((e) => ({
    name: label(e), gross: t[e + "_gross"], duplicate: t[e + "_duplicate"], invalid: t[e + "_invalid"],
    orphan: e === "clicks" ? t.clicks_orphan : undefined, net: t[e],
  }));
  fill(el, h("h2", null, "From gross to net"), table("From gross to net",
    [{ name: "name", text: "Events" }, { name: "gross", text: "Gross", number: true }, { name: "duplicate", text: "− Repeats", number: true },
      { name: "invalid", text: "− Invalid", number: true }, { name: "orphan", text: "− Without impression", number: true }, { name: "net", text: "= Net", number: true }],
    rows, (row, c) => c.name === "name" ? row.name : row[c.name] === undefined ? NONE : count(row[c.name])),
  why.rows.length > 0 && [h("h3", null, "Invalid traffic by reason"),
    h("p", { class: "quiet" }, "An event that has several reasons is in the row that names them all, so the rows add up."),
    table("Invalid traffic by reason", [{ name: "invalid_reason", text: "Reason" }, ...EVENTS.map((e) => ({ name: e + "_invalid", text: label(e), number: true }))],
      why.rows, (row, c) => c.name === "invalid_reason" ? inWords(row.invalid_reason) : count(row[c.name]))]);
}
