/** Square pixels from which 30 % of an ad are enough. */
const LARGE = 242_500;

/**
 * Tells when an ad is viewable by the rule of the Media Rating Council
 * (Viewable Ad Impression Measurement Guidelines 2.0): half of its pixels, of a
 * large display ad 30 %, in the visible page for one continuous second; of a
 * video half for two seconds in which it plays.
 *
 * @param done is called once.
 * @returns a function that ends the watch.
 */
export function watchView(el: Element, video: HTMLVideoElement | null, done: () => void): () => void {
  const limit = video ? 2000 : 1000;
  let enough = false;
  let since = -1;
  let timer = 0;

  const holds = (): boolean => enough && document.visibilityState === "visible" && painted(el) && (!video || plays(video));
  const judge = (at: number): void => {
    if (!holds()) {
      since = -1;
      clearTimeout(timer);
    } else if (since < 0) {
      since = at;
      timer = window.setTimeout(check, limit - (performance.now() - at));
    }
  };
  const read = (entries: IntersectionObserverEntry[]): void => {
    for (const entry of entries) {
      const { width, height } = entry.boundingClientRect;
      const need = !video && width * height >= LARGE ? 0.3 : 0.5;
      enough = width * height > 1 && entry.intersectionRatio >= need;
      judge(entry.time);
    }
  };
  const check = (): void => {
    read(io.takeRecords());
    judge(performance.now());
    if (since < 0) return;
    const left = limit - (performance.now() - since);
    if (left > 0) {
      timer = window.setTimeout(check, left);
      return;
    }
    stop();
    done();
  };
  const now = (): void => judge(performance.now());
  const stop = (): void => {
    clearTimeout(timer);
    io.disconnect();
    document.removeEventListener("visibilitychange", now);
    for (const name of MOTIONS) video?.removeEventListener(name, now);
  };

  const io = new IntersectionObserver(read, { threshold: [0.3, 0.5] });
  io.observe(el);
  document.addEventListener("visibilitychange", now);
  for (const name of MOTIONS) video?.addEventListener(name, now);
  return stop;
}

const MOTIONS = ["playing", "pause", "waiting", "seeking", "seeked", "ended", "emptied"];

function plays(video: HTMLVideoElement): boolean {
  return !video.paused && !video.ended && !video.seeking && video.readyState > 2;
}

/** An observer of intersections does not see that an ad is transparent. */
function painted(el: Element): boolean {
  return el.checkVisibility ? el.checkVisibility({ opacityProperty: true, visibilityProperty: true }) : true;
}
