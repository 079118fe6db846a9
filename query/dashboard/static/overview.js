// The page of an advertiser.
import { AWAY, get, report } from "./api.js";
import { breakdown, metricsOf, order } from "./breakdown.js";
import { cards, invalidByReason, reasons, TOTALS } from "./cards.js";
import { chart } from "./chart.js";
import { controls, label } from "./controls.js";
import { fill, h, message } from "./dom.js";
import { ago, dateTime } from "./format.js";
import { baseRequest, inMode, readState, writeState } from "./state.js";
import { before, fitting, preset, today } from "./time.js";
import { tell } from "./app.js";

const LIVE = 10_000; // ms between two looks
const ROWS = 100;
let schema = null;

export function overview(main, identity) {
  const s = readState(identity);
  const parts = Object.fromEntries(["controls", "freshness", "cards", "chart", "breakdown", "reasons"].map((n) => [n, h("section", { class: n })]));
  parts.chart.className = parts.breakdown.className = parts.reasons.className = "card";
  parts.cards.setAttribute("aria-label", "Figures of the whole range");
  let stopChart = () => {};
  let timer = 0, failures = 0, rows = ROWS;
  let running = null;
  let latest = null; // the last answer with the figures of the whole range

  fill(main, h("h1", { class: "hidden" }, "Overview"), parts.controls, parts.freshness, parts.cards, parts.chart, parts.breakdown, parts.reasons);

  const change = (edits) => {
    Object.assign(s, edits);
    rows = ROWS;
    writeState(s);
    draw();
    load();
  };
  const draw = () => schema && controls(parts.controls, s, identity, schema, change);
  const live = () => s.end > today(s.timezone);

  async function load() {
    clearTimeout(timer);
    running?.abort();
    const mine = running = new AbortController();
    main.setAttribute("aria-busy", "true");
    try {
      await ask(mine.signal);
      failures = 0;
      tell(null);
    } catch (e) {
      if (e.name === "AbortError" || mine.signal.aborted) return;
      failed(e);
    }
    if (mine !== running) return;
    main.removeAttribute("aria-busy");
    if (live() || failures) timer = setTimeout(look, failures ? Math.min(2000 * failures, LIVE) : LIVE);
  }

  function failed(e) {
    if (e.status === 401) return;
    failures++;
    const away = e.code === AWAY || e.status >= 500;
    if (away && parts.cards.childElementCount) {
      tell("The server does not answer. What you see is from before; trying again.", "error");
      if (latest) freshness(latest);
    } else if (away) {
      fill(parts.cards, message("error", "The server does not answer", "Trying again every few seconds."));
    } else {
      fill(parts.cards, message("error", "This cannot be shown", e.message, e.requestId && h("p", { class: "quiet" }, "Request " + e.requestId)));
      failures = 0;
    }
  }

  const look = () => document.visibilityState === "visible" ? load() : (timer = setTimeout(look, LIVE));

  async function ask(signal) {
    schema ||= await get("/v1/reports/schema", signal);
    if (s.range !== "custom") Object.assign(s, preset(s.range, s.timezone)); // midnight may have passed
    if (!parts.controls.childElementCount) draw();
    if (!s.advertiser) {
      fill(parts.cards, message("empty", "Which advertiser?", "Your key reads every advertiser. Write an id above."));
      return;
    }
    const base = baseRequest(s), old = { ...base, ...before(s) };
    const totals = { granularity: "total", dimensions: ["currency"], metrics: TOTALS };
    const [now, earlier, why] = await Promise.all([report({ ...base, ...totals }, signal), report({ ...old, ...totals }, signal),
      report({ ...base, ...invalidByReason(base) }, signal)]);
    const currencies = [...new Set(now.rows.map((r) => r.currency).filter(Boolean))];
    latest = now;
    failures = 0;
    freshness(now);
    cards(parts.cards, s, now, earlier, (metric) => change({ metric }));
    reasons(parts.reasons, now, why);
    await Promise.all([series(base, old, currencies, signal), inside(base, currencies, signal)]);
  }

  function freshness(answer) {
    const through = answer.meta.complete_through;
    fill(parts.freshness,
      through ? [h("span", null, h("span", { class: "dot " + (Date.now() - Date.parse(through) < 60_000 && !failures ? "good" : "late"), "aria-hidden": "true" }), "Complete through ", h("time", { datetime: through }, dateTime(through, s.timezone, true)), ` ${s.timezone} (${ago(through)})`)]
        : h("span", null, h("span", { class: "dot late", "aria-hidden": "true" }), "Not complete yet: some partitions have not been counted"),
      h("span", { class: "badge " + answer.meta.finality, title: answer.meta.finality === "final" ? "These days are closed and do not change" : "These days are not closed; late events are still added" }, answer.meta.finality),
      answer.meta.as_of && h("span", { class: "quiet asof", title: answer.meta.as_of }, "version " + answer.meta.as_of),
      live() && !failures && h("span", { class: "quiet" }, `looks again every ${LIVE / 1000} s`));
  }

  async function series(base, old, currencies, signal) {
    const granularity = s.granularity === "auto" ? fitting(s) : s.granularity;
    const kind = s.metric === "spend" ? "money" : /^(ctr|viewability|conversion_rate)$/.test(s.metric) ? "rate" : "count";
    const metric = kind === "count" ? inMode(s.metric, s.mode) : s.metric;
    const one = { granularity, metrics: [metric], limit: 10_000 };
    const currency = currencies[0];
    const only = (r) => kind === "money" && currency ? { ...r, filters: [...r.filters.filter((f) => f.dimension !== "currency"), { dimension: "currency", op: "in", values: [currency] }] } : r;
    const [now, earlier] = await Promise.all([report(only({ ...base, ...one }), signal), report(only({ ...old, ...one }), signal)]);
    const title = h("h2", null, label(metric) + (kind === "money" && currency ? " in " + currency : ""));
    const box = h("div");
    const open = parts.chart.querySelector("details")?.open;
    stopChart();
    fill(parts.chart, title, box);
    stopChart = chart(box, { metric, granularity, timeZone: s.timezone, kind, currency, now, before: earlier, range: base, rangeBefore: old });
    if (open) parts.chart.querySelector("details")?.setAttribute("open", "");
  }

  async function inside(base, currencies, signal) {
    const metrics = metricsOf(s, currencies);
    const request = { ...base, granularity: "total", dimensions: [s.by], metrics, order_by: order(s, metrics), limit: rows };
    const answer = await report(request, signal);
    const more = answer.meta.truncated && rows < 1000 ? () => { rows *= 3; load(); } : null;
    const focus = focusOf(parts.breakdown);
    breakdown(parts.breakdown, { s, schema, answer, request, currency: currencies[0], change, more });
    focus();
  }

  const shown = () => document.visibilityState === "visible" && live() && load();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.addEventListener("visibilitychange", shown);
  dark.addEventListener("change", load);
  writeState(s);
  load();
  return () => {
    clearTimeout(timer);
    running?.abort();
    running = null;
    main.removeAttribute("aria-busy");
    stopChart();
    document.removeEventListener("visibilitychange", shown);
    dark.removeEventListener("change", load);
  };
}

/** Remembers which control of a part has the focus; what is returned gives it back after the part was drawn anew. */
function focusOf(part) {
  const controls = () => [...part.querySelectorAll("button,select,input,summary,[tabindex]")];
  const at = controls().indexOf(document.activeElement);
  return () => at >= 0 && controls()[at]?.focus();
}
