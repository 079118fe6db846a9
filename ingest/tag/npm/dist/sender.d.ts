import type { Consent } from "./consent";
import { type Queue } from "./queue";
/** Brings the events of a queue to the server, again until it has answered. */
export declare class Sender {
    private readonly endpoint;
    private readonly queue;
    private readonly consent;
    private timer;
    private failures;
    private notBefore;
    constructor(endpoint: string, queue: Queue, consent: Consent);
    /** Sends soon. */
    later(wait?: number): void;
    /** Sends now, or when the server is to be asked again. */
    flush(leaving?: boolean): void;
    private settle;
    private retry;
}
