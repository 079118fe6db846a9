import { Consent } from "./consent";
import { randomId, type EventType } from "./event";
import { Queue } from "./queue";
import { Sender } from "./sender";
import { watchVideo } from "./video";
import { watchView } from "./view";

export type { EventType };

/** The attribute that makes an element an ad; its value is the token. */
const ATTRIBUTE = "data-adtally";
const LINKS = "a[href],area[href],[data-adtally-click]";

export interface Options {
  /** Where the server takes beacons, with its path prefix: "https://b.example.com/". */
  endpoint: string;
  /** false keeps what is not sent yet in memory only; a reload then loses it. */
  storage?: boolean;
}

interface Ad {
  token: string;
  end(): void;
}

export interface TrackOptions {
  /** Names an event that may be reported twice, such as a conversion by its order. */
  id?: string;
}

/**
 * Counts ads of one page. Elements get the bubbling event "adtally" with
 * {type, token} in its detail when something is counted for them.
 */
export class Adtally {
  private readonly queue: Queue;
  private readonly sender: Sender;
  private readonly endpoint: string;
  private readonly ads = new Map<Element, Ad>();
  private readonly tokens = new Set<string>();

  constructor(options: Options) {
    this.endpoint = new URL(options.endpoint, location.href).href.replace(/\/*$/, "/");
    this.queue = new Queue(`adtally ${this.endpoint} `);
    const consent = new Consent((allowed) => this.queue.persist(allowed && options.storage !== false));
    this.sender = new Sender(this.endpoint, this.queue, consent);
    for (const name of ["click", "auxclick"]) document.addEventListener(name, (e) => this.clicked(e as MouseEvent), true);
  }

  /** Observes every element with the attribute data-adtally, also those that come later. */
  scan(): void {
    // An element that is still being parsed does not have its picture yet.
    if (document.readyState === "loading") {
      document.addEventListener("DOMContentLoaded", () => this.scan(), { once: true });
      return;
    }
    const look = (root: ParentNode): void => root.querySelectorAll(`[${ATTRIBUTE}]`).forEach((el) => this.read(el));
    look(document);
    new MutationObserver((changes) => {
      for (const change of changes) {
        if (change.type === "attributes") this.read(change.target as Element);
        change.addedNodes.forEach((node) => {
          if (!(node instanceof Element)) return;
          this.read(node);
          look(node);
        });
      }
    }).observe(document, { subtree: true, childList: true, attributeFilter: [ATTRIBUTE] });
  }

  /**
   * Counts the impression of an ad once it is loaded in a page that is shown,
   * then its viewability, its clicks and the steps of its video. A token is one
   * impression: an element that shows the next ad needs the next token.
   */
  observe(el: Element, token: string): void {
    if (!token || this.tokens.has(token)) return;
    this.ads.get(el)?.end();
    this.tokens.add(token);
    const video = el.matches("video") ? (el as HTMLVideoElement) : el.querySelector("video");
    const ends: (() => void)[] = [];
    let ended = false;
    const count = (type: EventType): void => this.count(token, type, randomId(), el);
    const end = (): void => {
      ended = true;
      ends.forEach((f) => f());
    };
    this.ads.set(el, { token, end });
    whenShown(() =>
      whenLoaded(el, video, () => {
        if (ended) return;
        count("impression");
        ends.push(watchView(el, video, () => count("viewable")));
        if (video) ends.push(watchVideo(video, count));
      }),
    );
  }

  /** Counts what the page itself has seen, such as a conversion or a skipped video. */
  track(token: string, type: EventType, options: TrackOptions = {}): void {
    this.count(token, type, options.id || randomId());
  }

  /** Sends what waits without waiting for more. */
  flush(): void {
    this.sender.flush();
  }

  private read(el: Element): void {
    const token = el.getAttribute(ATTRIBUTE);
    if (token) this.observe(el, token);
  }

  private count(token: string, type: EventType, id: string, el?: Element): void {
    this.queue.add({ token, type, id, time: Date.now() });
    if (type === "click") this.sender.flush(); // the page may be about to go
    else this.sender.later();
    el?.dispatchEvent(new CustomEvent("adtally", { bubbles: true, detail: { type, token } }));
  }

  /** Counts what a person clicked, unless the link itself counts it. */
  private clicked(e: MouseEvent): void {
    if (!e.isTrusted || e.button > 1) return;
    const path = e.composedPath().filter((node): node is Element => node instanceof Element);
    const link = path.find((node) => node.matches(LINKS));
    if (!link || (link as HTMLAnchorElement).href?.startsWith?.(this.endpoint + "c/")) return;
    for (const el of path) {
      const ad = this.ads.get(el);
      if (ad) this.count(ad.token, "click", randomId(), el);
    }
  }
}

/** Calls back when the page is shown: not while it is only prepared or in the background. */
function whenShown(done: () => void): void {
  const look = (): void => {
    if ((document as any).prerendering || document.visibilityState !== "visible") return;
    document.removeEventListener("visibilitychange", look);
    document.removeEventListener("prerenderingchange", look);
    done();
  };
  document.addEventListener("visibilitychange", look);
  document.addEventListener("prerenderingchange", look);
  look();
}

/** Calls back when the picture or the first frame of an ad is there; one that fails to load is no impression. */
function whenLoaded(el: Element, video: HTMLVideoElement | null, done: () => void): void {
  const img = el.matches("img") ? (el as HTMLImageElement) : el.querySelector("img");
  if (video) {
    if (video.readyState > 1) done();
    else video.addEventListener("loadeddata", done, { once: true });
  } else if (img && !(img.complete && img.naturalWidth)) {
    img.addEventListener("load", done, { once: true });
  } else {
    done();
  }
}
