/**
 * Tells when an ad is viewable by the rule of the Media Rating Council
 * (Viewable Ad Impression Measurement Guidelines 2.0): half of its pixels, of a
 * large display ad 30 %, in the visible page for one continuous second; of a
 * video half for two seconds in which it plays.
 *
 * @param done is called once.
 * @returns a function that ends the watch.
 */
export declare function watchView(el: Element, video: HTMLVideoElement | null, done: () => void): () => void;
