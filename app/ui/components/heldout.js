// The pictures of the newest examination, worst first, folded away; unfolded while they are the only ones of a new run.

import { h, say } from "./dom.js";
import { fixed } from "./format.js";
import { enlarge, examinedPage } from "./large.js";
import { subscribe } from "./live.js";

const TILES_AT_ONCE = 60;
const VERDICTS = new Map([[1, ["✓", "right"]], [0, ["✗", "wrong"]], [null, ["?", "unscored"]]]);

export function mount({ element }) {
  const heldout = new Heldout(element);
  subscribe("heldout", { cursor: () => heldout.cursor(), show: (update) => heldout.take(update) });
}

class Heldout {
  constructor(element) {
    this.seen = { run: null, examination: null, step: null };
    this.samples = [];
    this.limit = TILES_AT_ONCE;
    this.isByHand = false; // a person folded or unfolded it: then it stays so
    this.title = h("span", { class: "lab-note" });
    this.grid = h("div", { class: "lab-previews" });
    this.more = h("button", { type: "button", class: "lab-button small", hidden: true, onclick: () => this.showMore() });
    const summary = h("summary", { onclick: () => (this.isByHand = true) }, h("strong", {}, "Held-out pictures"), " ", this.title);
    this.box = h("details", { class: "lab-card lab-heldout", hidden: true }, summary, this.grid, this.more);
    element.append(this.box);
  }

  cursor() {
    return { ...this.seen, is_open: this.box.open };
  }

  take(update) {
    if (update.run !== this.seen.run) this.isByHand = false;
    if (!this.isByHand) this.box.open = update.is_first;
    this.box.toggleAttribute("data-first", update.is_first); // lab.css then moves it up, below the empty wall
    if (!update.samples) return;
    this.seen = { run: update.run, examination: update.examination, step: update.step };
    this.samples = update.samples;
    this.limit = TILES_AT_ONCE;
    this.box.hidden = this.samples.length === 0;
    say(this.title, update.title && `${update.title}, worst first`);
    this.draw();
  }

  showMore() {
    this.limit += TILES_AT_ONCE;
    this.draw();
  }

  draw() {
    const pages = this.samples.map(examinedPage);
    const isVerdict = this.samples.every((sample) => VERDICTS.has(sample.score));
    const drawn = this.samples.slice(0, this.limit);
    this.grid.replaceChildren(...drawn.map((sample, i) => tile(sample, isVerdict, () => enlarge(pages, i))));
    const left = this.samples.length - drawn.length;
    this.more.hidden = left === 0;
    say(this.more, `Show ${Math.min(left, TILES_AT_ONCE)} more`);
  }
}

// A sign only where scores are verdicts; a score in between says itself how good it is.
function tile(sample, isVerdict, onclick) {
  const [sign, verdict] = isVerdict ? VERDICTS.get(sample.score) : [null, "graded"];
  const { url, alt } = examinedPage(sample);
  return h("button", { type: "button", class: `lab-tile ${verdict}`, title: sample.details || null, onclick },
    h("img", { src: url, alt, loading: "lazy", decoding: "async" }),
    sign && h("span", { class: "lab-sign", "aria-hidden": "true" }, sign),
    h("span", { class: "lab-reward" }, fixed(sample.score)),
    h("span", { class: "lab-caption", dir: "auto" }, sample.prompt));
}
