import { Adtally } from "./index";

// The script of a page: <script async src="https://b.example.com/beacon.js"></script>.
// Beacons go to where the script came from. What the page asked for before it
// was loaded, (window.adtally ||= []).push(tag => …), is done now.
type Ask = (tag: Adtally) => void;
const page = window as any;
const self = document.currentScript as HTMLScriptElement | null;

if (self?.src && !page.adtally?.tag) {
  const tag = new Adtally({ endpoint: new URL(".", self.src).href, storage: self.dataset.storage !== "off" });
  const asked: Ask[] = Array.isArray(page.adtally) ? page.adtally : [];
  const ask = (f: Ask): void => f(tag);
  page.adtally = { tag, push: ask };
  tag.scan();
  asked.forEach(ask);
}
