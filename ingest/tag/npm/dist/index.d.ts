import { type EventType } from "./event";
export type { EventType };
export interface Options {
    /** Where the server takes beacons, with its path prefix: "https://b.example.com/". */
    endpoint: string;
    /** false keeps what is not sent yet in memory only; a reload then loses it. */
    storage?: boolean;
}
export interface TrackOptions {
    /** Names an event that may be reported twice, such as a conversion by its order. */
    id?: string;
}
/**
 * Counts ads of one page. Elements get the bubbling event "adtally" with
 * {type, token} in its detail when something is counted for them.
 */
export declare class Adtally {
    private readonly queue;
    private readonly sender;
    private readonly endpoint;
    private readonly ads;
    private readonly tokens;
    constructor(options: Options);
    /** Observes every element with the attribute data-adtally, also those that come later. */
    scan(): void;
    /**
     * Counts the impression of an ad once it is loaded in a page that is shown,
     * then its viewability, its clicks and the steps of its video. A token is one
     * impression: an element that shows the next ad needs the next token.
     */
    observe(el: Element, token: string): void;
    /** Counts what the page itself has seen, such as a conversion or a skipped video. */
    track(token: string, type: EventType, options?: TrackOptions): void;
    /** Sends what waits without waiting for more. */
    flush(): void;
    private read;
    private count;
    /** Counts what a person clicked, unless the link itself counts it. */
    private clicked;
}
