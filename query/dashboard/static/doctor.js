// The tag doctor: what would become of a tag, a beacon URL or a batch. The
// beacon server is asked by this browser, so its own agent is judged too.
import { fill, h, message, table } from "./dom.js";

const beacons = document.documentElement.dataset.beaconUrl;

const EXAMPLE = `<script async src="${beacons || "https://b.example.com/"}beacon.js"></script>\n<div data-adtally="TOKEN"></div>`;

export function doctor(main) {
  const text = h("textarea", { id: "tag", rows: "7", spellcheck: "false", required: true, placeholder: EXAMPLE, "aria-describedby": "taghelp" });
  const out = h("div", { id: "diagnosis", "aria-live": "polite" });
  const submit = async (e) => {
    e.preventDefault();
    fill(out, h("p", { class: "quiet" }, "Asking…"));
    fill(out, await examine(text.value.trim()).catch((failed) => message("error", "No diagnosis", failed.message)));
  };
  fill(main, h("h1", null, "Tag doctor"),
    beacons ? null : message("empty", "The beacon server is not known", "Start the report server with --query-beacon-url and the URL at which pages reach the beacon server."),
    h("form", { class: "card", onsubmit: submit },
      h("label", { for: "tag" }, "A tag, a beacon URL, a token or a batch"), text,
      h("p", { id: "taghelp", class: "quiet" }, "Says how it would be read: signature, consent, flags, macros that nobody replaced. Nothing is counted."),
      h("button", { class: "primary", disabled: !beacons }, "Examine")),
    out);
}

/** Finds what there is to examine, and asks about each. */
async function examine(text) {
  const found = parts(text);
  if (!found.length) throw new Error("There is no token and no beacon URL in it. A tag has data-adtally=\"TOKEN\", or a picture or link below " + beacons);
  return Promise.all(found.map(async ({ title, body }) => {
    const answer = await fetch(beacons + "doctor", { method: "POST", body, credentials: "omit" })
      .catch(() => { throw new Error("The beacon server at " + beacons + " does not answer."); });
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) return message("error", title, said.detail || said.title || "It answered " + answer.status + ".");
    return said.events.map((e) => verdict(title, e)).concat(unknown(said.unknown));
  }));
}

function parts(text) {
  const token = (t) => JSON.stringify([{ token: t, type: "impression" }]);
  if (text.startsWith("{") || text.startsWith("[")) return [{ title: "Batch", body: text }];
  if (/^https?:\/\//.test(text)) return [{ title: "Beacon URL", body: JSON.stringify({ url: text }) }];
  if (/^[\w-]+\.[\w-]+$/.test(text)) return [{ title: "Token", body: token(text) }];
  // Parsed into a document of its own, in which nothing runs or loads.
  const page = new DOMParser().parseFromString(text, "text/html");
  const found = [...page.querySelectorAll("[data-adtally]")].map((el) => ({ title: "data-adtally of <" + el.localName + ">", body: token(el.dataset.adtally) }));
  for (const el of page.querySelectorAll("[src],[href]")) {
    const url = el.getAttribute("src") || el.getAttribute("href");
    if (/\/[ivct]\/[^/]+$/.test(url.split("?")[0])) found.push({ title: `<${el.localName}>`, body: JSON.stringify({ url }) });
  }
  return found;
}

function verdict(title, e) {
  const flags = e.flags || [];
  const kind = !e.counts ? "error" : flags.length || e.unexpanded_macros?.length ? "warn" : "good";
  const head = !e.counts ? "Would not be counted" : flags.length ? "Would be counted as invalid traffic" : "Would be counted";
  const facts = [
    ["Read as", inWords(e.as)], ["Why not", [e.reason, e.field, e.detail].filter(Boolean).join(" · ")],
    ["Signature", signatures[e.signature] || e.signature], ["Signed with key", e.key_id],
    ["Token", e.token && [e.token.state.replace(/_/g, " "), e.token.issued && "issued " + e.token.issued, e.token.expires && "expires " + e.token.expires].filter(Boolean).join(" · ")],
    ["Flags", flags.map((f) => f.flag + (f.list ? ` (list ${f.list} ${f.version})` : "")).join(", ")],
    ["Macros left", (e.unexpanded_macros || []).map((m) => `${m.macro} in ${m.where}`).join(", ")],
    ["Not read", (e.unknown || []).join(", ")],
    ["Consent", e.consent && `${e.consent.decision.replace(/_/g, " ")} (${e.consent.reason.replace(/_/g, " ")}); identifiers ${e.consent.identifiers ? "kept" : "dropped"}`],
    ...Object.entries(e.event || {}).map(([name, value]) => [inWords(name), value === true ? "yes" : value === false ? "no" : String(value)]),
  ].filter(([, value]) => value);
  return message(kind, head, title, table("How it is read", [{ name: 0, text: "What" }, { name: 1, text: "Value" }], facts, (row, c) => row[c.name]));
}

function inWords(name) {
  const words = name?.replace(/_/g, " ").replace(/\b(id|url|os)\b/g, (w) => (w === "id" ? w : w.toUpperCase()));
  return words && words[0].toUpperCase() + words.slice(1);
}

const signatures = { ok: "valid", bad: "not valid: the token was changed, or signed with another secret", unknown_key: "of a key that this server does not have", syntax: "this is no token" };

function unknown(names) {
  return names?.length ? message("warn", "Not read", names.join(", ")) : [];
}
