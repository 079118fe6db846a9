// What is looked at, in the query of the page's URL: a link to a view can be
// sent to somebody else. Keys are never in it.
import { isZone, preset } from "./time.js";

export const MODES = [
  ["net", "Net", "Valid events, each counted once: what bills"],
  ["gross", "Gross", "Everything received, repeats and invalid traffic too"],
  ["invalid", "Invalid", "Flagged as invalid traffic"],
  ["duplicate", "Repeats", "Repeats of events that were counted"],
];

const PLAIN = ["range", "start", "end", "granularity", "by", "metric", "mode", "sort"];
const DEFAULTS = { range: "7d", start: "", end: "", granularity: "auto", by: "campaign", metric: "impressions", mode: "net", sort: "-impressions" };

export function readState(identity) {
  const query = new URLSearchParams(location.search);
  const s = { ...DEFAULTS };
  for (const name of PLAIN) if (query.get(name)) s[name] = query.get(name);
  s.advertiser = query.get("advertiser") || identity.advertisers[0]?.id || "";
  const account = identity.advertisers.find((a) => a.id === s.advertiser);
  s.timezone = isZone(query.get("timezone")) ? query.get("timezone") : account?.timezone || "UTC";
  s.filters = query.getAll("filter").map((f) => {
    const [dimension, ...rest] = f.split(":");
    return { dimension, value: rest.join(":") };
  });
  if (!MODES.some(([m]) => m === s.mode)) s.mode = "net";
  if (s.range !== "custom" || !s.start || !s.end) Object.assign(s, preset(s.range, s.timezone));
  return s;
}

export function writeState(s) {
  const query = new URLSearchParams({ advertiser: s.advertiser });
  for (const name of PLAIN) if (s[name] && s[name] !== DEFAULTS[name] && (s.range === "custom" || (name !== "start" && name !== "end"))) query.set(name, s[name]);
  query.set("timezone", s.timezone);
  for (const f of s.filters) query.append("filter", f.dimension + ":" + f.value);
  history.replaceState(null, "", location.pathname + "?" + query);
}

/** The name of a metric in the chosen counting. */
export function inMode(name, mode) {
  return mode === "net" ? name : name + "_" + mode;
}

/** What every report of a view shares. */
export function baseRequest(s) {
  const filters = new Map();
  for (const f of s.filters) filters.set(f.dimension, [...(filters.get(f.dimension) || []), f.value]);
  return {
    advertiser: s.advertiser, timezone: s.timezone, start: s.start, end: s.end,
    filters: [...filters].map(([dimension, values]) => ({ dimension, op: "in", values })),
  };
}
