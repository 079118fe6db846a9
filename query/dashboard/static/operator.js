// For whoever runs adtally: does everything add up, and how far behind is it.
import { get } from "./api.js";
import { fill, h, message, table } from "./dom.js";
import { ago, bytes, count, NONE, seconds } from "./format.js";
import { tell } from "./app.js";

const EVERY = 5000;
const COLUMNS = ["accepted", "counted", "duplicate", "filtered", "rejected", "pending"];

export function operator(main) {
  const out = h("div");
  let timer = 0, gone = false;
  fill(main, h("h1", null, "Operator"), out);
  async function load() {
    try {
      show(out, ...await Promise.all([get("/v1/audit"), get("/v1/operations")]));
      tell(null);
    } catch (e) {
      if (e.status === 401) return;
      tell(e.message + " Trying again.", "error");
    }
    if (!gone) timer = setTimeout(load, EVERY);
  }
  load();
  return () => {
    gone = true;
    clearTimeout(timer);
  };
}

/** What an instance may say of itself, in words. */
const FIGURES = [
  ["spool_events", "Events in the spool", count], ["spool_bytes", "Disk taken by the spool", bytes], ["spool_oldest_seconds", "Oldest event in the spool", seconds],
  ["spool_side_events", "Set aside as too old", count], ["spool_lost_events", "Lost from the spool", count],
  ["requests_in_flight", "Requests in flight", count], ["produce_pending_events", "Events that Kafka has not confirmed", count],
  ["partitions", "Partitions owned", count], ["in_flight_events", "Events in flight, at the last audit", count], ["missing_events", "Events missing, at the last audit", count],
  ["audit_faults", "Faults found by audits", count], ["audited_at", "Last audit", since],
  ["last_cut", "Last cut", count], ["last_cut_at", "Last cut made", since], ["compact_frozen", "Cuts", (n) => (n ? "frozen: run adtally audit" : "being made")],
];

function since(at) {
  return at ? ago(at * 1000) : NONE;
}

/** One column for each instance. */
function instances(list) {
  if (!list.length) {
    return h("section", { class: "card" }, h("h2", null, "Spool and lag"),
      h("p", null, "This server watches no instance. Start it with --query-watch and the addresses of the other roles' admin listeners (http://ingest-1:8082), and their spools, lag and cuts are here."));
  }
  const rows = [["ready", "State"], ...FIGURES.filter(([name]) => list.some((it) => it.figures[name] !== undefined))];
  const columns = [{ name: "what", text: "What" }, ...list.map((it) => ({ name: it.url, it, text: it.url.replace(/^https?:\/\//, ""), number: true }))];
  const state = (it) => h("span", { class: it.ready ? "ready" : "error" }, it.ready ? "ready" : it.waits_for.join("; "));
  return h("section", { class: "card" }, h("h2", null, "Spool, lag and cuts"),
    h("p", { class: "quiet" }, "What each process says of itself now. The spool keeps some disk ready, also when it is empty."),
    table("What the instances say", columns, rows, ([name, text, show], c) => {
      if (!c.it) return text;
      if (name === "ready") return state(c.it);
      return c.it.figures[name] === undefined ? NONE : show(c.it.figures[name]);
    }, { class: "instances" }));
}

function show(out, audit, operations) {
  const faults = audit.partitions.flatMap((p) => p.faults.map((f) => ({ ...f, partition: p.partition })));
  const total = { partition: "All" };
  for (const name of COLUMNS) total[name] = audit.partitions.reduce((sum, p) => sum + p[name], 0);
  if (!audit.partitions.length) {
    fill(out, message("empty", "Nothing is counted yet", "When the first events arrive, this page says where each of them went."), instances(operations.instances));
    return;
  }
  const oldest = audit.partitions.reduce((a, b) => (a.lat < b.lat ? a : b));
  fill(out,
    message(audit.ok ? "good" : "error", audit.ok ? "The books add up" : "The books do not add up",
      audit.ok ? "Offsets of every partition are counted once, without a gap, and every record went somewhere." : "A gap heals by itself; after an overlap counting stops. “adtally audit” compares totals with the rows as well."),
    faults.length ? h("section", { class: "card" }, h("h2", null, "What is wrong"), table("What is wrong",
      [{ name: "partition", text: "Partition" }, { name: "kind", text: "Kind" }, { name: "from", text: "From offset", number: true }, { name: "to", text: "To", number: true }, { name: "text", text: "What" }],
      faults, (f, c) => String(f[c.name]))) : null,
    h("section", { class: "card" }, h("h2", null, "Conservation"),
      h("p", { class: "quiet" }, "accepted = counted + duplicate + filtered + rejected + pending, of what was read from the topic " + audit.topic),
      table("Conservation by partition", [{ name: "partition", text: "Partition" }, ...COLUMNS.map((n) => ({ name: n, text: n[0].toUpperCase() + n.slice(1), number: true })),
        { name: "position", text: "Position", number: true }, { name: "lat", text: "Counted to", number: true }],
      [total, ...audit.partitions], (row, c) => {
        if (c.name === "partition") return String(row.partition);
        if (c.name === "lat") return row.lat ? ago(row.lat) : ago(oldest.lat);
        return row[c.name] === undefined ? "" : count(row[c.name]);
      })),
    instances(operations.instances));
}
