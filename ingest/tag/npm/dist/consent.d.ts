/**
 * Reads what the consent platform of the page says: TCF 2 (__tcfapi), GPP
 * (__gpp) and US Privacy (__uspapi), also from inside a frame.
 */
export declare class Consent {
    private readonly store;
    private readonly said;
    private readonly asked;
    /** @param store hears whether the user lets us use the storage of the page. */
    constructor(store: (allowed: boolean) => void);
    /** Looks for platforms that were not there before. */
    ask(): void;
    /** Returns the parameters for a beacon URL, each with a leading &. */
    query(): string;
    private connect;
}
