// What labels did: the step that used them, the advantages they became, and what that step changed.

import { h, say } from "./dom.js";
import { fixed, signed } from "./format.js";
import { enlarge } from "./large.js";
import { refresh, subscribe } from "./live.js";

export function mount({ element }) {
  const effects = new Effects(element);
  subscribe("label effects", { cursor: () => effects.cursor(), show: (update) => effects.take(update) });
}

class Effects {
  constructor(element) {
    this.wanted = null; // {run, step}, or null for the newest
    this.seen = null; // which answer is drawn now, so that it does not come again
    this.title = h("h2", {}, "What your labels did");
    this.place = h("p", { class: "lab-effect-note" });
    const walk = (words, way) => h("button", { type: "button", class: "lab-button small", onclick: () => this.go(this[way]) }, words);
    this.older = null;
    this.newer = null;
    this.back = walk("Earlier step", "older");
    this.next = walk("Later step", "newer");
    this.body = h("div", { class: "lab-effects" });
    element.classList.add("lab-card");
    element.append(h("div", { class: "lab-title" }, this.title, this.place, h("span", { class: "lab-effect-walk" }, this.back, this.next)), this.body);
  }

  cursor() {
    return { ...this.wanted, seen: this.seen };
  }

  go(place) {
    if (!place) return;
    this.wanted = { run: place[0], step: place[1] };
    refresh();
  }

  take(update) {
    this.seen = update.seen;
    this.older = update.older ?? null;
    this.newer = update.newer ?? null;
    if (!this.newer) this.wanted = null;
    this.back.disabled = !this.older;
    this.next.disabled = !this.newer;
    this.back.hidden = this.next.hidden = update.steps < 2;
    say(this.place, update.at ? `${update.title}: ${update.summary}` : "");
    this.body.replaceChildren(...(update.at ? [changesOf(update), groupsOf(update), ...pairsOf(update)] : [
      h("p", { class: "lab-empty" }, "Once a step has learned from your labels, it stands here with what it changed."),
    ]));
  }
}

const number = (value, digits) => (value === null ? "\u2013" : value.toFixed(digits));

const changesOf = ({ changes }) => h("dl", { class: "lab-changes" }, changes.map(({ name, before, after, digits }) =>
  h("div", {}, h("dt", {}, name), h("dd", {}, `${number(before, digits)} \u2192 ${number(after, digits)}`))));

const groupsOf = ({ groups }) => h("div", {}, groups.map((group) => h("section", { class: "lab-effect-group" },
  h("h3", { dir: "auto" }, group.prompt),
  h("p", { class: "lab-effect-note", dir: "auto" }, group.said.join(" \u00b7 "), group.has_preference ? "" : " \u00b7 no preference, so the step did not train on it"),
  h("div", { class: "lab-effect-samples" }, group.samples.map((sample, index) => h("button", {
    type: "button", class: `lab-effect-sample ${side(sample)}`, "aria-label": `picture ${sample.number}, advantage ${signed(sample.advantage)}`,
    onclick: () => enlarge(group.samples.map((one) => pageOf(one, group)), index),
  }, h("img", { src: sample.url, alt: "", loading: "lazy" }), h("span", {}, signed(sample.advantage))))))));

const side = ({ advantage }) => (advantage > 0 ? "preferred" : advantage < 0 ? "dispreferred" : "");

const pageOf = (sample, group) => ({
  url: sample.url, alt: `picture ${sample.number}`, prompt: group.prompt,
  facts: [["Picture", sample.number], ["People's score", sample.said === null ? "none" : signed(sample.said)], ...(sample.reward === null ? [] : [["Automatic reward", fixed(sample.reward, 4)]]), ["Advantage", signed(sample.advantage)]],
});

const pairsOf = ({ pairs, pairs_title: words }) => [
  h("p", { class: "lab-effect-note" }, words),
  h("div", { class: "lab-effect-pairs" }, pairs.map((pair) => h("figure", {},
    h("span", {}, h("img", { src: pair.before, alt: "before", loading: "lazy" }), h("span", { "aria-hidden": "true" }, "\u2192"), h("img", { src: pair.after, alt: "after", loading: "lazy" })),
    h("figcaption", { dir: "auto" }, pair.prompt)))),
];
