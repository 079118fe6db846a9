// What a view is chosen with: advertiser, dates, zone, counting, filters.
import { choice, fill, h, segmented } from "./dom.js";
import { MODES } from "./state.js";
import { addDays, GRANULARITIES, isZone, ownZone, preset, PRESETS, zones } from "./time.js";

/** Shows the controls of state s; change(edits) is called with what is to change. */
export function controls(el, s, identity, schema, change) {
  const set = (name) => (value) => change({ [name]: value });
  fill(el,
    h("div", { class: "controls", role: "group", "aria-label": "What to show" },
      advertiser(s, identity, change),
      choice("Dates", PRESETS, s.range, (range) => change(range === "custom" ? { range } : { range, ...preset(range, s.timezone) })),
      s.range === "custom" && [
        date("From", s.start, (start) => change({ start, end: start < s.end ? s.end : addDays(start, 1) })),
        date("To", addDays(s.end, -1), (last) => change({ end: addDays(last, 1), start: last < s.start ? last : s.start })),
      ],
      zone(s, identity, change),
      choice("Every", GRANULARITIES, s.granularity, set("granularity")),
      segmented("Counting", MODES, s.mode, set("mode"))),
    filters(s, schema, change));
}

function advertiser(s, identity, change) {
  const known = identity.advertisers.map((a) => [a.id, a.name === a.id ? a.id : `${a.name} (${a.id})`]);
  const choose = (id) => change({ advertiser: id, timezone: identity.advertisers.find((a) => a.id === id)?.timezone || "UTC", filters: [] });
  if (!identity.all) return choice("Advertiser", known, s.advertiser, choose);
  // A key over everybody also reads advertisers that have no account.
  const other = h("input", {
    id: "advertiser", inputmode: "numeric", size: "10", value: s.advertiser, "aria-label": "Advertiser id", pattern: "[1-9][0-9]{0,19}",
    onchange: (e) => e.target.value && e.target.checkValidity() && choose(e.target.value),
  });
  const isOther = !known.some(([id]) => id === s.advertiser);
  const select = choice("Advertiser", [...known, ["", "Another id…"]], isOther ? "" : s.advertiser, (id) => {
    if (id) choose(id);
    else select.after(field), other.select();
  });
  const field = h("label", { class: "field" }, h("span", null, "Id"), other);
  return isOther ? [select, field] : [select];
}

function date(label, value, onchange) {
  return h("label", { class: "field" }, h("span", null, label),
    h("input", { type: "date", value, required: true, onchange: (e) => e.target.value && onchange(e.target.value) }));
}

function zone(s, identity, change) {
  const account = identity.advertisers.find((a) => a.id === s.advertiser)?.timezone;
  const first = [...new Set([account, ownZone, "UTC", s.timezone].filter(isZone))];
  const rest = zones().filter((z) => !first.includes(z));
  return h("label", { class: "field" }, h("span", null, "Time zone"),
    h("select", { id: "timezone", onchange: (e) => change({ timezone: e.target.value, ...(s.range === "custom" ? {} : preset(s.range, e.target.value)) }) },
      [...first, ...rest].map((z) => h("option", { value: z, selected: z === s.timezone }, z === account ? z + " (account)" : z))));
}

function filters(s, schema, change) {
  const names = schema.dimensions.map((d) => d.name).filter((n) => n !== "advertiser");
  const dimension = h("select", { "aria-label": "Filter by" }, names.map((n) => h("option", { value: n }, label(n))));
  const value = h("input", { "aria-label": "Value", placeholder: "value", size: "14", required: true });
  const add = (e) => {
    e.preventDefault();
    const one = { dimension: dimension.value, value: value.value.trim() };
    change({ filters: [...without(s.filters, one), one] });
  };
  return h("div", { class: "filters" },
    s.filters.map((f) => h("span", { class: "chip" }, `${label(f.dimension)}: ${f.value || "(none)"}`,
      h("button", { type: "button", "aria-label": `Remove the filter ${label(f.dimension)} ${f.value}`, onclick: () => change({ filters: without(s.filters, f) }) }, "×"))),
    h("form", { class: "addfilter", onsubmit: add }, dimension, value, h("button", null, "Add filter")));
}

function without(list, one) {
  return list.filter((f) => f.dimension !== one.dimension || f.value !== one.value);
}

/** What people call a dimension or metric. */
export function label(name) {
  if (name === "ctr") return "CTR";
  if (name === "conversion_rate") return "Conv. rate";
  if (/^(cpm|cpc|cpa|os)$/.test(name)) return name.toUpperCase();
  const words = name.replace(/_/g, " ");
  return words[0].toUpperCase() + words.slice(1);
}
