// What finance works with: closed days with their totals, files that prove
// themselves, and what changed in days after they were closed.
import { Failed, get, post } from "./api.js";
import { choice, fill, h, message, table } from "./dom.js";
import { count, dateTime, day, exact, NONE } from "./format.js";

const FORMATS = [["parquet", "Parquet"], ["arrow", "Arrow"], ["csv", "CSV"]];
const POLL = 500;

export function finance(main, identity) {
  const query = new URLSearchParams(location.search);
  const s = { advertiser: query.get("advertiser") || identity.advertisers[0]?.id || "", format: "parquet" };
  const parts = Object.fromEntries(["controls", "closes", "export", "adjustments", "changes"].map((n) => [n, h("section")]));
  let gone = false;
  fill(main, h("h1", null, "Finance"), parts.controls, parts.closes, parts.export, parts.adjustments, parts.changes);
  const draw = () => fill(parts.controls, h("div", { class: "controls" },
    choice("Advertiser", known(identity, s.advertiser), s.advertiser, (id) => {
      s.advertiser = id;
      history.replaceState(null, "", "?advertiser=" + id);
      fill(parts.export);
      load();
    }),
    choice("Files as", FORMATS, s.format, (f) => {
      s.format = f;
      load();
    })));

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
      const format = FORMATS.find(([f]) => f === s.format)[1];
      showCloses(parts.closes, closes, { before, older: load, format, make });
      showAdjustments(parts.adjustments, closes.closes);
      showChanges(parts.changes, changes, follow);
    } catch (e) {
      if (e.status !== 401) fill(parts.closes, failed(e));
    }
  }

  /** Goes on in the feed of changes. */
  async function follow(path) {
    try {
      showChanges(parts.changes, await get(path), follow);
    } catch (e) {
      if (e.status !== 401) fill(parts.changes, failed(e));
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
      if (state.status === "done") showFiles(parts.export, title, state, () => verify(title, state.id));
      else if (!gone) fill(parts.export, message("error", title, state.detail));
    } catch (e) {
      if (e.status !== 401) fill(parts.export, failed(e));
    }
  }

  /** Has the server hold files, manifest, closes and ledger against each other. */
  async function verify(title, id) {
    try {
      let state = await post("/v1/exports/" + id + "/verify");
      for (; state.verification.status === "running" && !gone; state = await get("/v1/exports/" + id)) {
        showFiles(parts.export, title, state, null);
        await new Promise((done) => setTimeout(done, POLL));
      }
      if (!gone) showFiles(parts.export, title, state, () => verify(title, id));
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

/** The totals of closes, one row for each currency of each. */
function byCurrency(closes, part) {
  return closes.flatMap((close) => close[part].map((totals, i) => ({ close, first: i === 0, ...totals })));
}

/** One row per closed day and currency. */
function showCloses(el, answer, { before, older, format, make }) {
  if (!answer.closes.length) {
    fill(el, message("empty", before ? "No earlier day is closed" : "No day is closed yet",
      "A day is closed once it is complete and the lateness allowance has passed; until then every figure is provisional. “adtally close --day 2026-11-20” closes one, or says what it waits for."));
    return;
  }
  const rows = answer.closes.flatMap((close) => close.statement.length ? byCurrency([close], "statement") : [{ close, first: true, currency: "", net: 0, gross: 0, spend: null }]);
  const cells = {
    day: (r) => day(r.close.day), currency: (r) => r.currency || NONE,
    net: (r) => count(r.net), gross: (r) => count(r.gross), spend: (r) => exact(r.spend, r.currency),
    through: (r) => r.first ? dateTime(r.close.complete_through, r.close.timezone) : "",
    hash: (r) => r.first && h("code", { title: r.close.hash }, r.close.hash.slice(0, 10)),
    files: (r) => r.first && h("button", { type: "button", "aria-label": `Make ${format} files of ${day(r.close.day)}`, onclick: () => make(r.close) }, "Make " + format),
  };
  fill(el, h("div", { class: "card" }, h("h2", null, "Closed days"),
    h("p", { class: "quiet" }, `Days of ${answer.closes[0].timezone}. A statement never changes; what comes for its day later is an adjustment of a later close. The sum of all closes is the sum of the ledger.`),
    table("Closed days", [
      { name: "day", text: "Day" }, { name: "currency", text: "Currency" }, { name: "net", text: "Net", number: true }, { name: "gross", text: "Gross", number: true },
      { name: "spend", text: "Spend", number: true }, { name: "through", text: "Complete through" }, { name: "hash", text: "Hash" }, { name: "files", text: "Files" },
    ], rows, (row, c) => cells[c.name](row)),
    answer.more && h("p", null, h("button", { type: "button", onclick: () => older(answer.closes[answer.closes.length - 1].day) }, "Earlier days"))));
}

/** What closes hold for days that were closed before them. */
function showAdjustments(el, closes) {
  const rows = byCurrency(closes, "adjustments");
  if (!rows.length) {
    fill(el, closes.length > 0 && h("p", { class: "quiet" }, "The days above hold no adjustments of earlier ones."));
    return;
  }
  const cells = { day: (r) => day(r.close.day), currency: (r) => r.currency || NONE, spend: (r) => exact(r.spend, r.currency) };
  fill(el, h("div", { class: "card" }, h("h2", null, "Adjustments"),
    h("p", { class: "quiet" }, "What came for earlier days, or corrected them, by the close that holds it. To be invoiced with that day; each is in one close only."),
    table("Adjustments", [{ name: "day", text: "In the close of" }, { name: "currency", text: "Currency" }, { name: "rows", text: "Rows", number: true },
      ...["net", "gross", "duplicate", "invalid", "orphan"].map((n) => ({ name: n, text: n[0].toUpperCase() + n.slice(1), number: true })), { name: "spend", text: "Spend", number: true }],
    rows, (row, c) => cells[c.name] ? cells[c.name](row) : count(row[c.name]))));
}

/** verify is called to check the files, null while that is under way. */
function showFiles(el, title, state, verify) {
  const cells = {
    name: (f) => h("a", { href: f.path, download: f.name }, f.name), rows: (f) => f.sha256 ? count(f.rows || 0) : NONE,
    bytes: (f) => f.bytes === undefined ? NONE : count(f.bytes), sha256: (f) => h("code", null, f.sha256 || NONE),
  };
  fill(el, h("div", { class: "card" }, h("h2", null, title),
    h("p", { class: "quiet" }, "The manifest names the close, its offsets, the audit and the control totals. The same export again is the same bytes, and “adtally export --verify DIR” checks a copy that you keep."),
    table(title, [{ name: "name", text: "File" }, { name: "rows", text: "Rows", number: true }, { name: "bytes", text: "Bytes", number: true }, { name: "sha256", text: "SHA-256" }],
      state.files || [], (f, c) => cells[c.name](f)),
    h("p", { class: "actions" }, h("button", { type: "button", disabled: !verify, onclick: verify }, verify ? "Verify against the ledger" : "Verifying…")),
    h("div", { class: "verified", "aria-live": "polite" }, verdict(state.verification))));
}

/** What a verification found. */
function verdict(v) {
  if (!v || v.status === "running") return null;
  if (v.status === "failed") return message("error", "Not verified", v.detail);
  if (v.ok) return message("good", "Everything agrees", `Files, manifest, closes, their chain and the ledger, at ${dateTime(v.at, undefined, true)}.`);
  return message("error", "The export is not what was closed", null, h("ul", null, v.faults.map((f) => h("li", null, f))));
}

/** follow is called with where later changes are. */
function showChanges(el, feed, follow) {
  if (!feed) {
    fill(el, h("p", { class: "quiet" }, "What changed in closed days needs a key with the scope report."));
    return;
  }
  if (!feed.changes.length && !feed.more) {
    fill(el, h("p", { class: "quiet" }, "Nothing has changed in days that were closed."));
    return;
  }
  const cells = {
    day: (c) => day(c.day), campaign: (c) => c.campaign, event: (c) => c.event_type.replace(/_/g, " "), why: (c) => c.reasons.join(", "),
    old: (c) => count(c.old.net), now: (c) => count(c.new.net),
    oldSpend: (c) => exact(c.old.spend, c.currency), newSpend: (c) => exact(c.new.spend, c.currency),
  };
  fill(el, h("div", { class: "card" }, h("h2", null, "Changed after the close"),
    table("Changed after the close", [
      { name: "day", text: "Day" }, { name: "campaign", text: "Campaign" }, { name: "event", text: "Event" }, { name: "why", text: "Why" },
      { name: "old", text: "Net at the close", number: true }, { name: "now", text: "Net now", number: true },
      { name: "oldSpend", text: "Spend at the close", number: true }, { name: "newSpend", text: "Spend now", number: true },
    ], feed.changes, (row, c) => cells[c.name](row)),
    feed.more && h("p", null, h("button", { type: "button", onclick: () => follow(feed.next) }, "Later changes"))));
}
