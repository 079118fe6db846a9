import type { Event } from "./event";

const SECOND = 1000;
const HOUR = 3600 * SECOND;

/** The oldest events go when there are more. */
const MAX_EVENTS = 100;
/** Bytes of a request, below what a browser lets a page leave behind (64 KiB). */
const MAX_BATCH = 48_000;
/** No other page sends an event that one is sending for so long. */
export const LEASE = 10 * SECOND;
/**
 * An event that may have arrived is given up after this time: the server
 * remembers ids for 6 hours, of which events may spend 1.5 in its spool.
 */
const MAX_RETRY = 4 * HOUR;
/** An event that was never sent is given up after this time. */
const MAX_AGE = 7 * 24 * HOUR;

interface Entry {
  e: Event;
  /** When it was first sent. */
  first?: number;
  /** Until when it is being sent. */
  until?: number;
}

/**
 * Keeps events until the server has answered. What is kept in the storage of
 * the page's origin survives a reload and is shared by its pages. Each event has
 * a key of its own there: two pages that wrote one list would lose events.
 */
export class Queue {
  private readonly memory = new Map<string, Entry>();
  private stored?: boolean;

  constructor(private readonly prefix: string) {}

  /** Says whether the storage of the page may be used; until then it is not. */
  persist(allowed: boolean): void {
    if (allowed === this.stored) return;
    const list = this.all(true);
    list.forEach((x) => this.remove(x));
    this.stored = allowed;
    list.forEach((x) => this.put(x));
  }

  add(e: Event): void {
    this.put({ e });
    this.all().slice(0, -MAX_EVENTS).forEach((x) => this.remove(x));
  }

  /** Returns events to send now; they are not returned again for a while. */
  take(now: number): Event[] {
    const batch: Event[] = [];
    let size = 0;
    for (const x of this.all()) {
      if (now - x.e.time > MAX_AGE || (x.first && now - x.first > MAX_RETRY)) {
        this.remove(x);
        continue;
      }
      if (x.until && x.until > now && x.until <= now + LEASE) continue;
      size += JSON.stringify(x.e).length + 1;
      if (size > MAX_BATCH && batch.length) break;
      x.first ||= now;
      x.until = now + LEASE;
      this.put(x);
      batch.push(x.e);
    }
    return batch;
  }

  /** Forgets events: the server has answered. */
  drop(events: Event[]): void {
    events.forEach((e) => this.remove({ e }));
  }

  /** Lets events be taken again. */
  release(events: Event[]): void {
    for (const x of this.all()) {
      if (!events.some((e) => e.id === x.e.id)) continue;
      x.until = 0;
      this.put(x);
    }
  }

  /** Returns how many events wait. */
  get length(): number {
    return this.all().length;
  }

  /** Returns what is kept, the oldest first. */
  private all(look = this.stored): Entry[] {
    const list = [...this.memory.values()];
    try {
      for (const key of look ? Object.keys(localStorage) : []) {
        const x = key.startsWith(this.prefix) && JSON.parse(localStorage.getItem(key) || "{}");
        if (x?.e?.token && x.e.id) list.push(x);
      }
    } catch {
      // No storage, or not our text.
    }
    return list.sort((a, b) => a.e.time - b.e.time);
  }

  private put(x: Entry): void {
    try {
      if (this.stored) {
        localStorage.setItem(this.prefix + x.e.id, JSON.stringify(x));
        return;
      }
    } catch {
      // Full or forbidden: memory is what we have.
    }
    this.memory.set(x.e.id, x);
  }

  private remove(x: Entry): void {
    this.memory.delete(x.e.id);
    try {
      localStorage.removeItem(this.prefix + x.e.id);
    } catch {
      // A page without storage has nothing in it.
    }
  }
}
