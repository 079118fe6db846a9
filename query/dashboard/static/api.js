// Asks the server. The session is a cookie that scripts cannot read; a key never
// stays here.

/** Failed is an error with what to tell the reader. */
export class Failed extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || "The server answered " + status + ".");
    this.status = status;
    this.code = problem.code || "";
    this.allowed = problem.allowed || [];
    this.requestId = problem.request_id || "";
  }
}

export const AWAY = "away";

async function ask(method, path, body, accept = "application/json", signal) {
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, credentials: "same-origin", cache: "no-store",
      headers: body === undefined ? { Accept: accept } : { Accept: accept, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Failed(0, { code: AWAY, detail: "The server does not answer." });
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  signal?.throwIfAborted();
  if (answer.status === 401 && path !== "/v1/session") dispatchEvent(new CustomEvent("signedout", { detail: problem.code }));
  throw new Failed(answer.status, problem);
}

export async function get(path, signal) {
  return (await ask("GET", path, undefined, undefined, signal)).json();
}

export async function post(path, body) {
  return (await ask("POST", path, body)).json();
}

export async function report(request, signal) {
  return (await ask("POST", "/v1/reports", request, undefined, signal)).json();
}

/** Saves a report as a file in another format. */
export async function download(request, accept, name) {
  const answer = await ask("POST", "/v1/reports", request, accept);
  save(await answer.blob(), name);
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export async function who() {
  return get("/v1/session");
}

export async function signIn(key) {
  await ask("POST", "/v1/session", { key });
}

export async function signOut() {
  await ask("DELETE", "/v1/session");
}
