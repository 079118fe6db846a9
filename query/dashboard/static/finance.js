// What finance works with: closed days with their totals, files that prove
// themselves, and what changed in days after they were closed.
import { Failed, get, post } from "./api.js";
import { choice, fill, h, message, table } from "./dom.js";
import { count, dateTime, day, money } from "./format.js";

const FORMATS = [["parquet", "Parquet"], ["arrow", "Arrow"], ["csv", "CSV"]];
const POLL = 500;

export function finance(main, identity) {
  const query = new URLSearchParams(location.search);
  const s = { advertiser: query.get("advertiser") || identity.advertisers[0]?.id || "", format: "parquet" };
  const parts = Object.fromEntries(["controls", "closes", "export", "changes"].map((n) => [n, h("section")]));
  let gone = false;
  fill(main, h("h1", null, "Finance"), parts.controls, parts.closes, parts.export, parts.changes);
  const draw = () => fill(parts.controls, h("div", { class: "controls" },
    choice("Advertiser", known(identity, s.advertiser), s.advertiser, (id) => {
      s.advertiser = id;
      history.replaceState(null, "", "?advertiser=" + id);
      fill(parts.export);
      load();
    }),
    choice("Files as", FORMATS, s.format, (f) => (s.format = f))));

  async function load(before = "") {
    if (!s.advertiser) {
      fill(parts.closes, message("empty", "No advertiser", "Your key covers no advertiser with an account. Name one in the address: /finance?advertiser=1."));
      return;
    }
    const of = "?advertiser=" + encodeURIComponent(s.advertiser);
    try {
      const [closes, changes] = await Promise.all([
        get("/v1/closes" + of + (before && "&before=" + before)),
        identity.key.scopes.includes("report") ? get("/v1/changes" + of) : null,
      ]);
      if (gone) return;
      showCloses(parts.closes, closes, before, load, (close) => make(close));
      showChanges(parts.changes, changes);
    } catch (e) {
      if (e.status !== 401) fill(parts.closes, failed(e));
    }
  }

  async function make(close) {
    const title = `Files of ${day(close.day)}`;
    try {
      let state = await post("/v1/exports", { day: close.day, timezone: close.timezone, advertiser: s.advertiser, format: s.format });
      for (; state.status === "running" && !gone; state = await get("/v1/exports/" + state.id)) {
        const progress = h("progress", { max: state.of_rows || 1, value: state.rows_written || 0, "aria-label": title });
        fill(parts.export, h("div", { class: "card" }, h("h2", null, title), progress));
        await new Promise((done) => setTimeout(done, POLL));
      }
      if (state.status === "done") showFiles(parts.export, title, state);
      else if (!gone) fill(parts.export, message("error", title, state.detail));
    } catch (e) {
      if (e.status !== 401) fill(parts.export, failed(e));
    }
  }

  draw();
  load();
  return () => {
    gone = true;
  };
}

function known(identity, chosen) {
  const list = identity.advertisers.map((a) => [a.id, a.name === a.id ? a.id : `${a.name} (${a.id})`]);
  return !chosen || list.some(([id]) => id === chosen) ? list : [...list, [chosen, chosen]];
}

function failed(e) {
  if (!(e instanceof Failed)) throw e;
  return message("error", e.status ? "This cannot be shown" : "The server does not answer", e.message);
}

/** One row per closed day and currency. */
function showCloses(el, answer, before, older, make) {
  if (!answer.closes.length) {
    fill(el, message("empty", before ? "No earlier day is closed" : "No day is closed yet",
      "A day is closed once it is complete and the lateness allowance has passed; until then every figure is provisional. “adtally close --day 2026-11-20” closes one, or says what it waits for."));
    return;
  }
  const rows = answer.closes.flatMap((close) => {
    const currencies = [...new Set([...close.statement, ...close.adjustments].map((t) => t.currency))];
    const of = (list, currency) => list.find((t) => t.currency === currency);
    return (currencies.length ? currencies : [""]).map((currency, i) => ({
      close, first: i === 0, currency, statement: of(close.statement, currency), adjustments: of(close.adjustments, currency),
    }));
  });
  const cells = {
    day: (r) => day(r.close.day), currency: (r) => r.currency || "–",
    net: (r) => count(r.statement?.net ?? 0), gross: (r) => count(r.statement?.gross ?? 0), spend: (r) => money(r.statement?.spend ?? "0", r.currency),
    later: (r) => r.adjustments ? count(r.adjustments.net) : "–", laterSpend: (r) => r.adjustments ? money(r.adjustments.spend, r.currency) : "–",
    through: (r) => r.first ? dateTime(r.close.complete_through, r.close.timezone) : "",
    hash: (r) => r.first && h("code", { title: r.close.hash }, r.close.hash.slice(0, 10)),
    files: (r) => r.first && h("button", { type: "button", onclick: () => make(r.close) }, "Make files"),
  };
  fill(el, h("div", { class: "card" }, h("h2", null, "Closed days"),
    h("p", { class: "quiet" }, `Days of ${answer.closes[0].timezone}. What came for a day after it was closed is an adjustment of a later close; the sum of all closes is the sum of the ledger.`),
    table("Closed days", [
      { name: "day", text: "Day" }, { name: "currency", text: "Currency" }, { name: "net", text: "Net", number: true }, { name: "gross", text: "Gross", number: true },
      { name: "spend", text: "Spend", number: true }, { name: "later", text: "Adjustments, net", number: true }, { name: "laterSpend", text: "Adjustments, spend", number: true },
      { name: "through", text: "Complete through" }, { name: "hash", text: "Hash" }, { name: "files", text: "Files" },
    ], rows, (row, c) => cells[c.name](row)),
    answer.more && h("p", null, h("button", { type: "button", onclick: () => older(answer.closes[answer.closes.length - 1].day) }, "Earlier days"))));
}

function showFiles(el, title, state) {
  const cells = {
    name: (f) => h("a", { href: f.path, download: f.name }, f.name), rows: (f) => f.sha256 ? count(f.rows || 0) : "–",
    bytes: (f) => f.bytes === undefined ? "–" : count(f.bytes), sha256: (f) => h("code", null, f.sha256 || "–"),
  };
  fill(el, h("div", { class: "card" }, h("h2", null, title),
    h("p", { class: "quiet" }, "The manifest names the close, its offsets, the audit and the control totals. “adtally export --verify DIR” compares files and totals with the ledger; the same export again is the same bytes."),
    table(title, [{ name: "name", text: "File" }, { name: "rows", text: "Rows", number: true }, { name: "bytes", text: "Bytes", number: true }, { name: "sha256", text: "SHA-256" }],
      state.files || [], (f, c) => cells[c.name](f))));
}

function showChanges(el, feed) {
  if (!feed?.changes.length) {
    fill(el, h("p", { class: "quiet" }, "Nothing has changed in days that were closed."));
    return;
  }
  const cells = {
    day: (c) => day(c.day), campaign: (c) => c.campaign, event: (c) => c.event_type.replace(/_/g, " "), why: (c) => c.reasons.join(", "),
    old: (c) => count(c.old.net), now: (c) => count(c.new.net),
    oldSpend: (c) => money(c.old.spend, c.currency), newSpend: (c) => money(c.new.spend, c.currency),
  };
  fill(el, h("div", { class: "card" }, h("h2", null, "Changed after the close"),
    table("Changed after the close", [
      { name: "day", text: "Day" }, { name: "campaign", text: "Campaign" }, { name: "event", text: "Event" }, { name: "why", text: "Why" },
      { name: "old", text: "Net at the close", number: true }, { name: "now", text: "Net now", number: true },
      { name: "oldSpend", text: "Spend at the close", number: true }, { name: "newSpend", text: "Spend now", number: true },
    ], feed.changes, (row, c) => cells[c.name](row)),
    feed.more && h("p", { class: "quiet" }, "There are more: /v1/changes goes on from version " + feed.as_of + ".")));
}
