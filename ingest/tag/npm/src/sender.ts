import type { Consent } from "./consent";
import type { Event } from "./event";
import { LEASE, type Queue } from "./queue";

/** How long an event waits for others to share its request, in ms. */
const LINGER = 1000;
const MAX_WAIT = 300_000;

/** Brings the events of a queue to the server, again until it has answered. */
export class Sender {
  private timer = 0;
  private failures = 0;
  private notBefore = 0;

  constructor(
    private readonly endpoint: string,
    private readonly queue: Queue,
    private readonly consent: Consent,
  ) {
    addEventListener("online", () => {
      this.failures = this.notBefore = 0;
      this.flush();
    });
    // Most pages live on when they are hidden, so the answer can be read.
    document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && this.flush());
    addEventListener("pagehide", () => this.flush(true));
    this.later(); // what an earlier page left
  }

  /** Sends soon. */
  later(wait = LINGER): void {
    this.timer ||= window.setTimeout(() => this.flush(), wait);
  }

  /** Sends now, or when the server is to be asked again. */
  flush(leaving = false): void {
    clearTimeout(this.timer);
    this.timer = 0;
    this.consent.ask();
    const now = Date.now();
    if (navigator.onLine === false || (document as any).prerendering) return;
    if (now < this.notBefore && !leaving) {
      this.later(this.notBefore - now);
      return;
    }
    const events = this.queue.take(now);
    if (!events.length) {
      if (this.queue.length) this.later(LEASE); // another page is sending
      return;
    }
    const url = `${this.endpoint}e?sent=${now}${this.consent.query()}`;
    const body = JSON.stringify(events);
    // A page that is left hears no answer: its events stay in the queue, and a
    // second copy counts once.
    if (leaving && navigator.sendBeacon?.(url, body)) return;
    fetch(url, { method: "POST", body, keepalive: true, credentials: "omit" }).then(
      (answer) => this.settle(events, answer),
      () => this.retry(events, 0),
    );
  }

  private async settle(events: Event[], answer: Response): Promise<void> {
    const { status } = answer;
    if (status >= 500 || status === 429 || status === 408) {
      this.retry(events, Number(answer.headers.get("Retry-After")) * 1000);
      return;
    }
    this.queue.drop(events);
    this.failures = 0;
    const said = await answer.json().catch(() => ({}));
    if (status >= 300 || said.rejected?.length) console.warn("adtally: not counted", status, said.rejected || said);
    if (this.queue.length) this.later();
  }

  private retry(events: Event[], asked: number): void {
    this.queue.release(events);
    const wait = Math.min(LINGER * 2 ** this.failures++, MAX_WAIT) * (0.5 + Math.random() / 2);
    this.notBefore = Date.now() + Math.max(wait, asked || 0);
    this.later(this.notBefore - Date.now());
  }
}
