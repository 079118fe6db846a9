import { randomId } from "./event";

type Answer = (value: any, ok: boolean) => void;

/**
 * The longest consent string that is passed on: the URL must fit into the
 * server's limit. What is cut off either still says what the purposes are, as
 * those come first, or is not readable, which the server takes for a no.
 */
const MAX_STRING = 2500;

/**
 * Reads what the consent platform of the page says: TCF 2 (__tcfapi), GPP
 * (__gpp) and US Privacy (__uspapi), also from inside a frame.
 */
export class Consent {
  private readonly said: Record<string, string> = {};
  private readonly asked: Record<string, boolean> = {};

  /** @param store hears whether the user lets us use the storage of the page. */
  constructor(private readonly store: (allowed: boolean) => void) {
    this.ask();
    // With a platform the user's choice is waited for.
    if (!this.asked.__tcfapi) store(true);
  }

  /** Looks for platforms that were not there before. */
  ask(): void {
    this.connect("__tcfapi", "addEventListener", 2, (tc, ok) => {
      if (!ok) return;
      if (tc.gdprApplies !== undefined) this.said.gdpr = tc.gdprApplies ? "1" : "0";
      this.said.gdpr_consent = tc.tcString;
      this.store(tc.gdprApplies === false || !!tc.purpose?.consents?.[1]);
    });
    this.connect("__gpp", "addEventListener", "1.1", (event) => {
      const ping = event?.pingData;
      if (!ping || ping.signalStatus === "not ready") return;
      this.said.gpp = ping.gppString;
      this.said.gpp_sid = (ping.applicableSections || []).join();
    });
    this.connect("__uspapi", "getUSPData", 1, (data, ok) => {
      if (ok) this.said.us_privacy = data.uspString;
    });
  }

  /** Returns the parameters for a beacon URL, each with a leading &. */
  query(): string {
    return Object.entries(this.said)
      .map(([name, value]) => (value ? `&${name}=${encodeURIComponent(value.slice(0, MAX_STRING))}` : ""))
      .join("");
  }

  private connect(name: string, command: string, version: number | string, answer: Answer): void {
    if (this.asked[name]) return;
    const own = (window as any)[name];
    const frame = typeof own === "function" ? null : locate(name + "Locator");
    if (frame === undefined) return;
    this.asked[name] = true;
    if (!frame) {
      if (name === "__gpp") own(command, answer);
      else own(command, version, answer);
      return;
    }
    const callId = randomId();
    addEventListener("message", (m) => {
      const reply = m.source === frame && unpack(m.data)?.[name + "Return"];
      if (reply?.callId === callId) answer(reply.returnValue, reply.success);
    });
    frame.postMessage({ [name + "Call"]: { command, version, callId } }, "*");
  }
}

/** Finds the frame above this one that a platform has marked. */
function locate(marker: string): Window | undefined {
  for (let w: Window = window; w !== w.parent; ) {
    w = w.parent;
    try {
      if ((w.frames as any)[marker]) return w;
    } catch {
      // Another origin shows its marker or nothing.
    }
  }
  return undefined;
}

function unpack(data: any): any {
  try {
    return typeof data === "string" ? JSON.parse(data) : data;
  } catch {
    return null;
  }
}
