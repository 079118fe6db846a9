import type { EventType } from "./event";

const QUARTERS: [number, EventType][] = [
  [0.25, "video_q1"],
  [0.5, "video_mid"],
  [0.75, "video_q3"],
];

/** Reports how far a video is played, each step once. */
export function watchVideo(video: HTMLVideoElement, step: (type: EventType) => void): () => void {
  const seen = new Set<EventType>();
  const once = (type: EventType): void => {
    if (!seen.has(type)) step(type);
    seen.add(type);
  };
  const listeners: Record<string, () => void> = {
    playing: () => once("video_start"),
    timeupdate: () => {
      for (const [part, type] of QUARTERS) if (seen.has("video_start") && video.currentTime >= part * video.duration) once(type);
    },
    ended: () => once("video_complete"),
  };
  for (const name in listeners) video.addEventListener(name, listeners[name]);
  if (!video.paused && video.readyState > 2) once("video_start");
  return () => {
    for (const name in listeners) video.removeEventListener(name, listeners[name]);
  };
}
