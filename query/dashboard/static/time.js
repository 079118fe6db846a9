// Days of a time zone. A date is text, such as "2026-11-24"; ends are exclusive.

const DAY = 86_400_000;

export function today(timeZone, now = new Date()) {
  const parts = Object.fromEntries(new Intl.DateTimeFormat("en-CA", { timeZone, year: "numeric", month: "2-digit", day: "2-digit" })
    .formatToParts(now).map((p) => [p.type, p.value]));
  return `${parts.year}-${parts.month}-${parts.day}`;
}

export function addDays(date, n) {
  return new Date(Date.parse(date + "T00:00:00Z") + n * DAY).toISOString().slice(0, 10);
}

export function daysBetween(start, end) {
  return Math.round((Date.parse(end + "T00:00:00Z") - Date.parse(start + "T00:00:00Z")) / DAY);
}

export const PRESETS = [
  ["today", "Today"], ["yesterday", "Yesterday"], ["7d", "Last 7 days"], ["28d", "Last 28 days"],
  ["month", "This month"], ["lastmonth", "Last month"], ["custom", "Custom"],
];

/** The range of a preset, which includes today but for those that say otherwise. */
export function preset(name, timeZone) {
  const now = today(timeZone), next = addDays(now, 1);
  const first = now.slice(0, 8) + "01";
  switch (name) {
    case "today": return { start: now, end: next };
    case "yesterday": return { start: addDays(now, -1), end: now };
    case "28d": return { start: addDays(now, -27), end: next };
    case "month": return { start: first, end: next };
    case "lastmonth": return { start: addDays(first, -1).slice(0, 8) + "01", end: first };
    default: return { start: addDays(now, -6), end: next };
  }
}

/** The range of the same length just before. */
export function before({ start, end }) {
  return { start: addDays(start, -daysBetween(start, end)), end: start };
}

/** The granularity that makes a readable chart of a range. */
export function fitting({ start, end }) {
  const days = daysBetween(start, end);
  if (days <= 2) return "hour";
  if (days <= 92) return "day";
  return days <= 400 ? "week" : "month";
}

export const GRANULARITIES = [["auto", "Automatic"], ["quarter", "15 minutes"], ["hour", "Hour"], ["day", "Day"], ["week", "Week"], ["month", "Month"]];

/** Every zone that the browser knows, and UTC. */
export function zones() {
  const all = Intl.supportedValuesOf ? Intl.supportedValuesOf("timeZone") : [];
  return ["UTC", ...all.filter((z) => z !== "UTC")];
}

export function isZone(name) {
  try {
    return !!name && !!new Intl.DateTimeFormat("en", { timeZone: name });
  } catch {
    return false;
  }
}

export const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
