/** What can happen to an ad. */
export type EventType =
  | "impression"
  | "viewable"
  | "click"
  | "conversion"
  | "video_start"
  | "video_q1"
  | "video_mid"
  | "video_q3"
  | "video_complete"
  | "video_skip"
  | "video_pause"
  | "video_resume"
  | "video_mute"
  | "video_unmute"
  | "video_fullscreen";

/** One event as the server reads it. */
export interface Event {
  token: string;
  type: EventType;
  /** A repeat of an id counts once, so a retry carries the id of its first attempt. */
  id: string;
  /** When it happened, in milliseconds since 1970 by the clock of this device. */
  time: number;
}

/** Returns 128 random bits in hex digits. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
