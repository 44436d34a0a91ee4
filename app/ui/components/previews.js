// Pictures drawn on request with the policy as it is, newest first, and the box that asks for them.

import { h, say } from "./dom.js";
import { captionedTile, examinedPage } from "./large.js";
import { refresh, subscribe } from "./live.js";

export function mount({ element, server }) {
  const previews = new Previews(element, server);
  subscribe("previews", { cursor: () => previews.cursor(), show: (update) => previews.take(update) });
}

class Previews {
  constructor(element, server) {
    this.server = server;
    this.newest = null;
    this.run = null;
    this.diary = null; // the last line of the run's diary that is known
    this.isAwaiting = false; // pictures were asked for, and neither they nor a warning has come
    this.prompts = h("textarea", { rows: 2, dir: "auto", "aria-label": "Prompts to draw, one per line", placeholder: "a red circle above a blue square" });
    this.seed = h("input", { type: "number", min: 0, step: 1, value: 0, "aria-label": "Seed" });
    this.button = h("button", { type: "button", class: "lab-button", disabled: true, "data-action": "sample", onclick: () => this.ask() }, "Sample now");
    this.answer = h("p", { class: "lab-answer", role: "status" });
    this.strip = h("div", { class: "lab-previews" });
    element.classList.add("lab-card", "lab-sample-now");
    element.append(
      h("div", { class: "lab-title" }, h("h2", {}, "Try a prompt")),
      h("div", { class: "lab-ask" }, this.prompts, h("label", {}, "seed ", this.seed), this.button), this.answer, this.strip,
    );
  }

  cursor() {
    return { run: this.run, newest: this.newest, diary: this.diary };
  }

  async ask() {
    this.button.disabled = true;
    const wish = { action: "sample", run: this.run, prompts: this.prompts.value, seed: this.seed.valueAsNumber };
    const answer = await this.server.act(wish).catch(() => null);
    say(this.answer, answer ? (answer.error ?? answer.done) : "The lab did not answer. Try again.");
    this.isAwaiting = Boolean(answer?.done);
    this.button.disabled = false;
    refresh();
  }

  take(update) {
    if (update.run !== this.run) this.hear("");
    this.run = update.run;
    this.diary = update.diary;
    if (this.isAwaiting && update.warning) this.hear(update.warning);
    this.button.disabled = !update.can_sample;
    this.button.title = update.can_sample ? "" : "Only a running or paused run has its model loaded.";
    if (!update.samples) return;
    this.newest = update.newest;
    const pages = update.samples.map(examinedPage);
    this.strip.replaceChildren(...pages.map((_, i) => captionedTile(pages, i)));
    if (pages.length) this.hear("");
  }

  // The end of waiting, in words or (the pictures themselves) without.
  hear(words) {
    this.isAwaiting = false;
    say(this.answer, words);
  }
}
