// The frame around the pages: who is signed in, where we are, what went wrong.
import { AWAY, signIn, signOut, who } from "./api.js";
import { doctor } from "./doctor.js";
import { fill, h, message } from "./dom.js";
import { finance } from "./finance.js";
import { operator } from "./operator.js";
import { overview } from "./overview.js";

const PAGES = [
  { path: "/", text: "Overview", show: overview, scope: "report" },
  { path: "/finance", text: "Finance", show: finance, scope: "finance" },
  { path: "/operator", text: "Operator", show: operator, scope: "admin" },
  { path: "/doctor", text: "Tag doctor", show: doctor },
];
const main = document.getElementById("main");
const notice = document.getElementById("notice");
let identity = null;
let leave = () => {};

/** Tells what concerns every page; null takes it back. */
export function tell(text, kind = "warn") {
  fill(notice, text && h("p", { class: "notice " + kind }, text));
}

export function go(path) {
  history.pushState(null, "", path);
  show();
}

document.addEventListener("click", (e) => {
  const link = e.target.closest("a[data-nav]");
  if (!link || e.metaKey || e.ctrlKey || e.shiftKey || e.button) return;
  e.preventDefault();
  go(link.getAttribute("href"));
  main.focus();
});
addEventListener("popstate", () => show());
addEventListener("signedout", (e) => {
  if (!identity) return; // several requests may hear of it
  identity = null;
  const gone = e.detail === "unknown_key";
  askKey(gone ? "Your key was revoked or has expired. Sign in with another one." : "Your session has ended. Sign in again.");
});

function frame() {
  fill(document.getElementById("nav"), PAGES.map((p) => h("a", { href: p.path, "data-nav": true, "aria-current": p.path === location.pathname && "page" }, p.text)));
  fill(document.getElementById("who"), identity && [
    h("span", { class: "key", title: "Key " + identity.key.id }, identity.key.name || identity.key.id),
    h("button", { type: "button", onclick: leaveSession }, "Sign out"),
  ]);
}

async function leaveSession() {
  await signOut().catch(() => {});
  identity = null;
  show();
}

async function show() {
  leave();
  leave = () => {};
  tell(null);
  const page = PAGES.find((p) => p.path === location.pathname) || PAGES[0];
  document.title = page.text + " · adtally";
  frame();
  if (page.scope && !identity && !(await signedIn())) return;
  if (!identity) identity = await who().catch(() => null); // the doctor also serves strangers
  frame();
  if (page.scope && !identity.key.scopes.includes(page.scope)) {
    fill(main, message("empty", "This page needs another key",
      `Your key “${identity.key.name || identity.key.id}” does not have the scope ${page.scope}. Ask whoever gives out keys, or sign in with another one.`));
    return;
  }
  leave = page.show(main, identity) || (() => {});
}

async function signedIn() {
  try {
    identity = await who();
    return true;
  } catch (e) {
    if (e.status === 401) askKey();
    else wait(e);
    return false;
  }
}

function wait(e) {
  const text = e.code === AWAY ? "Trying again every few seconds." : e.message;
  fill(main, message("error", "The server does not answer", text, h("button", { type: "button", onclick: show }, "Try now")));
  const timer = setTimeout(show, 3000);
  leave = () => clearTimeout(timer);
}

function askKey(why) {
  leave();
  leave = () => {};
  frame();
  const error = h("p", { class: "error", role: "alert" }, why || "");
  const key = h("input", { id: "key", type: "password", autocomplete: "current-password", required: true, spellcheck: "false", "aria-describedby": "keyhelp" });
  const button = h("button", { class: "primary" }, "Sign in");
  const submit = async (e) => {
    e.preventDefault();
    button.disabled = true;
    error.textContent = "";
    try {
      await signIn(key.value.trim());
      await show();
    } catch (failed) {
      error.textContent = failed.status === 401 ? "This key is not known. It may be mistyped, revoked or of another server." : failed.message;
      key.select();
    }
    button.disabled = false;
  };
  fill(main, h("form", { class: "card signin", onsubmit: submit },
    h("h1", null, "Sign in"),
    h("label", { for: "key" }, "API key"), key,
    h("p", { id: "keyhelp", class: "quiet" }, "The key that your reports are read with. After “make run” it is in data/admin.key. It is kept in a cookie that no script can read, for 12 hours."),
    error, button));
  key.focus();
}

show();
