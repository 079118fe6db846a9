// The table by one dimension: sorted by any column, and each row opens what is
// inside of it.
import { Failed, download } from "./api.js";
import { EVENTS } from "./cards.js";
import { label } from "./controls.js";
import { choice, fill, h, table } from "./dom.js";
import { count, money, rate } from "./format.js";
import { inMode } from "./state.js";

/** What a row is opened into. */
const INSIDE = { campaign: "ad_group", ad_group: "creative", creative: "placement", placement: "publisher", publisher: "country", country: "region", device: "os", os: "browser" };

const FILES = [["text/csv", "CSV", "csv"], ["application/vnd.apache.parquet", "Parquet", "parquet"]];

/** The metrics of the table; money is by currency, and a rate only of net events. */
export function metricsOf(s, currencies) {
  const list = EVENTS.map((e) => inMode(e, s.mode));
  if (s.mode !== "net") return list;
  return list.concat("ctr", "viewability", currencies.length === 1 ? ["spend", "cpm", "cpc"] : []);
}

export function order(s, metrics) {
  const field = s.sort.replace("-", "");
  if (field === s.by || metrics.includes(field)) return [{ field, direction: s.sort.startsWith("-") ? "desc" : "asc" }];
  return [{ field: metrics[0], direction: "desc" }];
}

/** Shows an answer by s.by. more is called for the next rows, or null. */
export function breakdown(el, view) {
  const { s, schema, answer, request, currency, change, more } = view;
  const dimensions = schema.dimensions.map((d) => d.name).filter((n) => n !== "advertiser");
  const [sorted] = request.order_by;
  const head = (name, number) => {
    const on = sorted.field === name;
    const next = on && sorted.direction === "desc" ? name : "-" + name;
    return h("th", { scope: "col", class: number && "number", "aria-sort": on ? (sorted.direction === "desc" ? "descending" : "ascending") : "none" },
      h("button", { type: "button", class: "sort", onclick: () => change({ sort: next }) }, label(name), h("span", { "aria-hidden": "true" }, on ? (sorted.direction === "desc" ? " ↓" : " ↑") : "")));
  };
  const columns = [{ name: s.by, head: head(s.by) }, ...request.metrics.map((m) => ({ name: m, number: true, head: head(m, true) }))];
  const open = (value) => change({
    filters: [...s.filters.filter((f) => f.dimension !== s.by), { dimension: s.by, value }], by: INSIDE[s.by] || "campaign",
  });
  const cell = (row, c) => {
    if (c.name === s.by) return h("button", { type: "button", class: "open", title: "Show what is inside", onclick: () => open(row[s.by]) }, row[s.by] || "(none)");
    return shown(c.name, row[c.name], currency);
  };
  const error = h("p", { class: "error", role: "alert" });
  const files = FILES.map(([accept, text, ending]) => h("button", {
    type: "button", "data-format": ending,
    onclick: () => save({ ...request, limit: 10_000 }, accept, `adtally-${s.advertiser}-${s.start}-${s.by}.${ending}`, error),
  }, text));
  fill(el,
    h("div", { class: "bar" }, h("h2", null, "By " + label(s.by).toLowerCase()),
      choice("Break down by", dimensions.map((d) => [d, label(d)]), s.by, (by) => change({ by })),
      h("div", { class: "files", role: "group", "aria-label": "Download this table" }, h("span", { class: "quiet" }, "Download"), files)),
    error,
    answer.rows.length
      ? table("By " + label(s.by), columns, answer.rows, cell)
      : h("p", { class: "quiet pad" }, "Nothing was counted here. Choose other dates, remove a filter, or see with the tag doctor whether beacons arrive."),
    more && h("p", null, h("button", { type: "button", onclick: more }, "More rows")),
    !more && answer.meta.truncated && h("p", { class: "quiet" }, `The first ${answer.rows.length} rows by ${label(sorted.field)}; a download has more.`));
}

function shown(name, value, currency) {
  if (/^(ctr|viewability|conversion_rate)$/.test(name)) return rate(value);
  if (/^(spend|cpm|cpc|cpa)$/.test(name)) return money(value, currency);
  return count(value);
}

async function save(request, accept, name, error) {
  error.textContent = "";
  try {
    await download(request, accept, name);
  } catch (e) {
    if (!(e instanceof Failed)) throw e;
    error.textContent = e.message;
  }
}
