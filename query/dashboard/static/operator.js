// For whoever runs adtally: does everything add up, and how far behind is it.
import { get } from "./api.js";
import { fill, h, message, table } from "./dom.js";
import { ago, count } from "./format.js";
import { tell } from "./app.js";

const EVERY = 5000;
const COLUMNS = ["accepted", "counted", "duplicate", "filtered", "rejected", "pending"];

export function operator(main) {
  const out = h("div");
  let timer = 0, gone = false;
  fill(main, h("h1", null, "Operator"), out);
  async function load() {
    try {
      show(out, await get("/v1/audit"));
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

function show(out, audit) {
  const faults = audit.partitions.flatMap((p) => p.faults.map((f) => ({ ...f, partition: p.partition })));
  const total = { partition: "All" };
  for (const name of COLUMNS) total[name] = audit.partitions.reduce((sum, p) => sum + p[name], 0);
  if (!audit.partitions.length) {
    fill(out, message("empty", "Nothing is counted yet", "When the first events arrive, this page says where each of them went."));
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
      table("Conservation by partition", [{ name: "partition", text: "Partition" }, ...COLUMNS.map((n) => ({ name: n, text: n, number: true })),
        { name: "position", text: "position", number: true }, { name: "lat", text: "counted to", number: true }],
      [total, ...audit.partitions], (row, c) => {
        if (c.name === "partition") return String(row.partition);
        if (c.name === "lat") return row.lat ? ago(row.lat) : ago(oldest.lat);
        return row[c.name] === undefined ? "" : count(row[c.name]);
      })),
    h("section", { class: "card" }, h("h2", null, "Spool and lag"),
      h("p", null, "The spool is on the disk of each ingest instance and events in flight are known to the brokers only: /metrics on the admin listeners has adtally_spool_… and adtally_aggregate_…, and “adtally audit” asks the brokers.")));
}
