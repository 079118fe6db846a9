// src/event.ts
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

// src/consent.ts
var MAX_STRING = 2500;
var Consent = class {
  /** @param store hears whether the user lets us use the storage of the page. */
  constructor(store) {
    this.store = store;
    this.said = {};
    this.asked = {};
    this.ask();
    if (!this.asked.__tcfapi) store(true);
  }
  /** Looks for platforms that were not there before. */
  ask() {
    this.connect("__tcfapi", "addEventListener", 2, (tc, ok) => {
      if (!ok) return;
      if (tc.gdprApplies !== void 0) this.said.gdpr = tc.gdprApplies ? "1" : "0";
      this.said.gdpr_consent = tc.tcString;
      this.store(tc.gdprApplies === false || !!tc.purpose?.consents?.[1]);
    });
    this.connect("__gpp", "addEventListener", "1.1", (event) => {
      const ping = event?.pingData;
      if (!ping || ping.signalStatus === "not ready") return;
      this.said.gpp = ping.gppString;
      this.said.gpp_sid = (ping.applicableSections || []).join();
    });
    this.connect("__uspapi", "getUSPData", 1, (data, ok) => {
      if (ok) this.said.us_privacy = data.uspString;
    });
  }
  /** Returns the parameters for a beacon URL, each with a leading &. */
  query() {
    return Object.entries(this.said).map(([name, value]) => value ? `&${name}=${encodeURIComponent(value.slice(0, MAX_STRING))}` : "").join("");
  }
  connect(name, command, version, answer) {
    if (this.asked[name]) return;
    const own = window[name];
    const frame = typeof own === "function" ? null : locate(name + "Locator");
    if (frame === void 0) return;
    this.asked[name] = true;
    if (!frame) {
      if (name === "__gpp") own(command, answer);
      else own(command, version, answer);
      return;
    }
    const callId = randomId();
    addEventListener("message", (m) => {
      const reply = m.source === frame && unpack(m.data)?.[name + "Return"];
      if (reply?.callId === callId) answer(reply.returnValue, reply.success);
    });
    frame.postMessage({ [name + "Call"]: { command, version, callId } }, "*");
  }
};
function locate(marker) {
  for (let w = window; w !== w.parent; ) {
    w = w.parent;
    try {
      if (w.frames[marker]) return w;
    } catch {
    }
  }
  return void 0;
}
function unpack(data) {
  try {
    return typeof data === "string" ? JSON.parse(data) : data;
  } catch {
    return null;
  }
}

// src/queue.ts
var SECOND = 1e3;
var HOUR = 3600 * SECOND;
var MAX_EVENTS = 100;
var MAX_BATCH = 48e3;
var LEASE = 10 * SECOND;
var MAX_RETRY = 4 * HOUR;
var MAX_AGE = 7 * 24 * HOUR;
var Queue = class {
  constructor(prefix) {
    this.prefix = prefix;
    this.memory = /* @__PURE__ */ new Map();
  }
  /** Says whether the storage of the page may be used; until then it is not. */
  persist(allowed) {
    if (allowed === this.stored) return;
    const list = this.all(true);
    list.forEach((x) => this.remove(x));
    this.stored = allowed;
    list.forEach((x) => this.put(x));
  }
  add(e) {
    this.put({ e });
    this.all().slice(0, -MAX_EVENTS).forEach((x) => this.remove(x));
  }
  /** Returns events to send now; they are not returned again for a while. */
  take(now) {
    const batch = [];
    let size = 0;
    for (const x of this.all()) {
      if (now - x.e.time > MAX_AGE || x.first && now - x.first > MAX_RETRY) {
        this.remove(x);
        continue;
      }
      if (x.until && x.until > now && x.until <= now + LEASE) continue;
      size += JSON.stringify(x.e).length + 1;
      if (size > MAX_BATCH && batch.length) break;
      x.first || (x.first = now);
      x.until = now + LEASE;
      this.put(x);
      batch.push(x.e);
    }
    return batch;
  }
  /** Forgets events: the server has answered. */
  drop(events) {
    events.forEach((e) => this.remove({ e }));
  }
  /** Lets events be taken again. */
  release(events) {
    for (const x of this.all()) {
      if (!events.some((e) => e.id === x.e.id)) continue;
      x.until = 0;
      this.put(x);
    }
  }
  /** Returns how many events wait. */
  get length() {
    return this.all().length;
  }
  /** Returns what is kept, the oldest first. */
  all(look = this.stored) {
    const list = [...this.memory.values()];
    try {
      for (const key of look ? Object.keys(localStorage) : []) {
        const x = key.startsWith(this.prefix) && JSON.parse(localStorage.getItem(key) || "{}");
        if (x?.e?.token && x.e.id) list.push(x);
      }
    } catch {
    }
    return list.sort((a, b) => a.e.time - b.e.time);
  }
  put(x) {
    try {
      if (this.stored) {
        localStorage.setItem(this.prefix + x.e.id, JSON.stringify(x));
        return;
      }
    } catch {
    }
    this.memory.set(x.e.id, x);
  }
  remove(x) {
    this.memory.delete(x.e.id);
    try {
      localStorage.removeItem(this.prefix + x.e.id);
    } catch {
    }
  }
};

// src/sender.ts
var LINGER = 1e3;
var MAX_WAIT = 3e5;
var Sender = class {
  constructor(endpoint, queue, consent) {
    this.endpoint = endpoint;
    this.queue = queue;
    this.consent = consent;
    this.timer = 0;
    this.failures = 0;
    this.notBefore = 0;
    addEventListener("online", () => {
      this.failures = this.notBefore = 0;
      this.flush();
    });
    document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && this.flush());
    addEventListener("pagehide", () => this.flush(true));
    this.later();
  }
  /** Sends soon. */
  later(wait = LINGER) {
    this.timer || (this.timer = window.setTimeout(() => this.flush(), wait));
  }
  /** Sends now, or when the server is to be asked again. */
  flush(leaving = false) {
    clearTimeout(this.timer);
    this.timer = 0;
    this.consent.ask();
    const now = Date.now();
    if (navigator.onLine === false || document.prerendering) return;
    if (now < this.notBefore && !leaving) {
      this.later(this.notBefore - now);
      return;
    }
    const events = this.queue.take(now);
    if (!events.length) {
      if (this.queue.length) this.later(LEASE);
      return;
    }
    const url = `${this.endpoint}e?sent=${now}${this.consent.query()}`;
    const body = JSON.stringify(events);
    if (leaving && navigator.sendBeacon?.(url, body)) return;
    fetch(url, { method: "POST", body, keepalive: true, credentials: "omit" }).then(
      (answer) => this.settle(events, answer),
      () => this.retry(events, 0)
    );
  }
  async settle(events, answer) {
    const { status } = answer;
    if (status >= 500 || status === 429 || status === 408) {
      this.retry(events, Number(answer.headers.get("Retry-After")) * 1e3);
      return;
    }
    this.queue.drop(events);
    this.failures = 0;
    const said = await answer.json().catch(() => ({}));
    if (status >= 300 || said.rejected?.length) console.warn("adtally: not counted", status, said.rejected || said);
    if (this.queue.length) this.later();
  }
  retry(events, asked) {
    this.queue.release(events);
    const wait = Math.min(LINGER * 2 ** this.failures++, MAX_WAIT) * (0.5 + Math.random() / 2);
    this.notBefore = Date.now() + Math.max(wait, asked || 0);
    this.later(this.notBefore - Date.now());
  }
};

// src/video.ts
var QUARTERS = [
  [0.25, "video_q1"],
  [0.5, "video_mid"],
  [0.75, "video_q3"]
];
function watchVideo(video, step) {
  const seen = /* @__PURE__ */ new Set();
  const once = (type) => {
    if (!seen.has(type)) step(type);
    seen.add(type);
  };
  const listeners = {
    playing: () => once("video_start"),
    timeupdate: () => {
      for (const [part, type] of QUARTERS) if (seen.has("video_start") && video.currentTime >= part * video.duration) once(type);
    },
    ended: () => once("video_complete")
  };
  for (const name in listeners) video.addEventListener(name, listeners[name]);
  if (!video.paused && video.readyState > 2) once("video_start");
  return () => {
    for (const name in listeners) video.removeEventListener(name, listeners[name]);
  };
}

// src/view.ts
var LARGE = 242500;
function watchView(el, video, done) {
  const limit = video ? 2e3 : 1e3;
  let enough = false;
  let since = -1;
  let timer = 0;
  const holds = () => enough && document.visibilityState === "visible" && painted(el) && (!video || plays(video));
  const judge = (at) => {
    if (!holds()) {
      since = -1;
      clearTimeout(timer);
    } else if (since < 0) {
      since = at;
      timer = window.setTimeout(check, limit - (performance.now() - at));
    }
  };
  const read = (entries) => {
    for (const entry of entries) {
      const { width, height } = entry.boundingClientRect;
      const need = !video && width * height >= LARGE ? 0.3 : 0.5;
      enough = width * height > 1 && entry.intersectionRatio >= need;
      judge(entry.time);
    }
  };
  const check = () => {
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
  const now = () => judge(performance.now());
  const stop = () => {
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
var MOTIONS = ["playing", "pause", "waiting", "seeking", "seeked", "ended", "emptied"];
function plays(video) {
  return !video.paused && !video.ended && !video.seeking && video.readyState > 2;
}
function painted(el) {
  return el.checkVisibility ? el.checkVisibility({ opacityProperty: true, visibilityProperty: true }) : true;
}

// src/index.ts
var ATTRIBUTE = "data-adtally";
var LINKS = "a[href],area[href],[data-adtally-click]";
var Adtally = class {
  constructor(options) {
    this.ads = /* @__PURE__ */ new Map();
    this.tokens = /* @__PURE__ */ new Set();
    this.endpoint = new URL(options.endpoint, location.href).href.replace(/\/*$/, "/");
    this.queue = new Queue(`adtally ${this.endpoint} `);
    const consent = new Consent((allowed) => this.queue.persist(allowed && options.storage !== false));
    this.sender = new Sender(this.endpoint, this.queue, consent);
    for (const name of ["click", "auxclick"]) document.addEventListener(name, (e) => this.clicked(e), true);
  }
  /** Observes every element with the attribute data-adtally, also those that come later. */
  scan() {
    if (document.readyState === "loading") {
      document.addEventListener("DOMContentLoaded", () => this.scan(), { once: true });
      return;
    }
    const look = (root) => root.querySelectorAll(`[${ATTRIBUTE}]`).forEach((el) => this.read(el));
    look(document);
    new MutationObserver((changes) => {
      for (const change of changes) {
        if (change.type === "attributes") this.read(change.target);
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
  observe(el, token) {
    if (!token || this.tokens.has(token)) return;
    this.ads.get(el)?.end();
    this.tokens.add(token);
    const video = el.matches("video") ? el : el.querySelector("video");
    const ends = [];
    let ended = false;
    const count = (type) => this.count(token, type, randomId(), el);
    const end = () => {
      ended = true;
      ends.forEach((f) => f());
    };
    this.ads.set(el, { token, end });
    whenShown(
      () => whenLoaded(el, video, () => {
        if (ended) return;
        count("impression");
        ends.push(watchView(el, video, () => count("viewable")));
        if (video) ends.push(watchVideo(video, count));
      })
    );
  }
  /** Counts what the page itself has seen, such as a conversion or a skipped video. */
  track(token, type, options = {}) {
    this.count(token, type, options.id || randomId());
  }
  /** Sends what waits without waiting for more. */
  flush() {
    this.sender.flush();
  }
  read(el) {
    const token = el.getAttribute(ATTRIBUTE);
    if (token) this.observe(el, token);
  }
  count(token, type, id, el) {
    this.queue.add({ token, type, id, time: Date.now() });
    if (type === "click") this.sender.flush();
    else this.sender.later();
    el?.dispatchEvent(new CustomEvent("adtally", { bubbles: true, detail: { type, token } }));
  }
  /** Counts what a person clicked, unless the link itself counts it. */
  clicked(e) {
    if (!e.isTrusted || e.button > 1) return;
    const path = e.composedPath().filter((node) => node instanceof Element);
    const link = path.find((node) => node.matches(LINKS));
    if (!link || link.href?.startsWith?.(this.endpoint + "c/")) return;
    for (const el of path) {
      const ad = this.ads.get(el);
      if (ad) this.count(ad.token, "click", randomId(), el);
    }
  }
};
function whenShown(done) {
  const look = () => {
    if (document.prerendering || document.visibilityState !== "visible") return;
    document.removeEventListener("visibilitychange", look);
    document.removeEventListener("prerenderingchange", look);
    done();
  };
  document.addEventListener("visibilitychange", look);
  document.addEventListener("prerenderingchange", look);
  look();
}
function whenLoaded(el, video, done) {
  const img = el.matches("img") ? el : el.querySelector("img");
  if (video) {
    if (video.readyState > 1) done();
    else video.addEventListener("loadeddata", done, { once: true });
  } else if (img && !(img.complete && img.naturalWidth)) {
    img.addEventListener("load", done, { once: true });
  } else {
    done();
  }
}
export {
  Adtally
};
