import type { EventType } from "./event";
/** Reports how far a video is played, each step once. */
export declare function watchVideo(video: HTMLVideoElement, step: (type: EventType) => void): () => void;
