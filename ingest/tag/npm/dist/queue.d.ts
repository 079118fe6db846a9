import type { Event } from "./event";
/** No other page sends an event that one is sending for so long. */
export declare const LEASE: number;
/**
 * Keeps events until the server has answered. What is kept in the storage of
 * the page's origin survives a reload and is shared by its pages. Each event has
 * a key of its own there: two pages that wrote one list would lose events.
 */
export declare class Queue {
    private readonly prefix;
    private readonly memory;
    private stored?;
    constructor(prefix: string);
    /** Says whether the storage of the page may be used; until then it is not. */
    persist(allowed: boolean): void;
    add(e: Event): void;
    /** Returns events to send now; they are not returned again for a while. */
    take(now: number): Event[];
    /** Forgets events: the server has answered. */
    drop(events: Event[]): void;
    /** Lets events be taken again. */
    release(events: Event[]): void;
    /** Returns how many events wait. */
    get length(): number;
    /** Returns what is kept, the oldest first. */
    private all;
    private put;
    private remove;
}
