// Numbers, money and times as the reader's locale writes them. Decimals come as
// text and stay text: Intl formats them without a float in between.

const locale = navigator.languages?.length ? navigator.languages : undefined;
const counts = new Intl.NumberFormat(locale);
const rates = new Intl.NumberFormat(locale, { style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2 });
const changes = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1, signDisplay: "exceptZero" });

export const NONE = "–";

export function count(n) {
  return n === null || n === undefined ? NONE : counts.format(n);
}

/** A rate is a decimal text, such as "0.0123". */
export function rate(text) {
  return text === null || text === undefined ? NONE : rates.format(text);
}

export function money(text, currency) {
  if (text === null || text === undefined) return NONE;
  if (!currency) return new Intl.NumberFormat(locale, { maximumFractionDigits: 6 }).format(text);
  return new Intl.NumberFormat(locale, { style: "currency", currency }).format(text);
}

/** Money to the last place that it has: what is invoiced and proved. */
export function exact(text, currency) {
  if (text === null || text === undefined || !currency) return money(text, currency);
  return new Intl.NumberFormat(locale, { style: "currency", currency, maximumFractionDigits: 9 }).format(text);
}

/** How much a number changed, or "" where there is nothing to compare with. */
export function change(now, before) {
  const a = Number(now), b = Number(before);
  if (before === null || before === undefined || now === null || now === undefined || !(b > 0)) return "";
  return changes.format(a / b - 1);
}

export function dateTime(instant, timeZone, seconds = false) {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: seconds ? "medium" : "short", timeZone }).format(new Date(instant));
}

export function day(date) {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" }).format(new Date(date + "T00:00:00Z"));
}

/** What stands at an axis for an instant, in seconds. */
export function tick(seconds, timeZone, intraday) {
  const options = intraday ? { hour: "numeric", minute: "2-digit", timeZone } : { month: "short", day: "numeric", timeZone };
  return new Intl.DateTimeFormat(locale, options).format(new Date(seconds * 1000));
}

/** A short number for an axis. */
const short = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 2 });
export function compact(n) {
  return short.format(n);
}

const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** A size, in the largest unit that leaves a whole part. */
export function bytes(n) {
  const at = n < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3));
  return new Intl.NumberFormat(locale, { style: "unit", unit: units[at], unitDisplay: "short", maximumFractionDigits: 1 }).format(n / 1000 ** at);
}

/** A duration. */
export function seconds(n) {
  const [unit, size] = n < 120 ? ["second", 1] : n < 7200 ? ["minute", 60] : ["hour", 3600];
  return new Intl.NumberFormat(locale, { style: "unit", unit, maximumFractionDigits: 0 }).format(n / size);
}

export function ago(instant, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - new Date(instant)) / 1000));
  const words = new Intl.RelativeTimeFormat(locale, { numeric: "always", style: "short" });
  if (seconds < 120) return words.format(-seconds, "second");
  if (seconds < 7200) return words.format(-Math.round(seconds / 60), "minute");
  return words.format(-Math.round(seconds / 3600), "hour");
}
