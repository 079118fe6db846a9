// What finance needs: whether the figures are final.
import { get } from "./api.js";
import { fill, h, message } from "./dom.js";
import { dateTime } from "./format.js";

export function finance(main) {
  const out = h("div");
  fill(main, h("h1", null, "Finance"), out);
  get("/v1/freshness").then(
    (f) => fill(out, message("empty", "This server lists no closed days",
      "Every figure is provisional: late events are still added to its day. Days are closed once they are complete." +
      (f.complete_through ? ` The ledger is complete through ${dateTime(f.complete_through, "UTC", true)} UTC.` : ""))),
    (e) => e.status !== 401 && fill(out, message("error", "The server does not answer", e.message)));
}
