// One group at a time, judged by keys, mouse or touch; what is typed while the next one is on its way is not lost.

import { Answer } from "./answer.js";
import { h, say } from "./dom.js";
import { Judgement, WAYS } from "./judgement.js";
import { Keymap, keyOf } from "./keymap.js";
import { enlarge } from "./large.js";
import { subscribe } from "./live.js";

const RETRY_MS = 1500;
const LOOK_AGAIN_MS = 10_000; // another person has a group for two minutes: ten seconds more are little, and a look every ten costs the lab nothing
const JUDGING = ["press", "both", "neither", "send", "skip", "undo"];
const SMALL_PICTURE = 256; // pixels; smaller ones are enlarged pixel by pixel
const UNSENT = "lab-label-unsent";
const NAME = "lab-rater";
const WAY = "lab-label-mode";

export function mount({ element, server }) {
  const page = new LabelPage(element, server);
  subscribe("waiting", { cursor: () => ({ group: page.group?.id ?? null }), show: (update) => page.hear(update) });
}

class LabelPage {
  constructor(element, server) {
    this.server = server;
    this.group = null;
    this.typed = []; // keys that came while a group was on its way
    this.isWaiting = false;
    this.areOthersOpen = false; // groups that are not this person's yet, when last heard of
    this.way = localStorage.getItem(WAY) in WAYS ? localStorage.getItem(WAY) : "ranking";
    this.judgement = new Judgement(this.way, 0);
    this.keymap = new Keymap(() => this.drawKeys());
    this.build(element);
    this.drawKeys();
    document.addEventListener("keydown", (event) => this.hearKey(event));
    this.resume();
    setInterval(() => this.lookAgain(), LOOK_AGAIN_MS);
  }

  build(element) {
    this.name = h("input", { maxlength: 60, value: ownName(), "aria-label": "Your name", onchange: () => this.rename() });
    this.ways = h("div", { class: "lab-ways", role: "group", "aria-label": "How to judge" }, Object.entries(WAYS).map(([way, { name }]) =>
      button(name, () => this.choose(way), { "data-way": way, class: "lab-button small" })));
    this.bar = h("div", { class: "lab-label-bar" }, h("span", {}));
    this.progress = h("p", { class: "lab-label-progress" });
    this.help = h("p", { class: "lab-label-help" });
    this.place = h("p", { class: "lab-label-place" });
    this.prompt = h("h2", { class: "lab-label-prompt", dir: "auto" });
    this.note = h("p", { class: "lab-label-note" });
    this.tiles = h("div", { class: "lab-label-tiles" });
    this.answer = new Answer((isResting) => this.tiles.setAttribute("aria-busy", String(isResting)));
    const does = (action, words, attributes = {}) => button(words, () => this.obey({ action }), { "data-action": action, ...attributes });
    this.ties = h("div", { class: "lab-buttons lab-ties" }, does("both", "Both good"), does("neither", "Neither"));
    this.buttons = h("div", { class: "lab-buttons lab-label-actions" }, does("back", "\u2190", { "aria-label": "Previous group" }),
      does("undo", "Undo"), does("skip", "Skip"), does("send", "Send", { class: "lab-button main" }), does("forward", "\u2192", { "aria-label": "Next group" }));
    element.classList.add("lab-card", "lab-label");
    element.append(
      h("div", { class: "lab-label-head" }, this.ways, h("label", { class: "lab-name" }, "Your name ", this.name)),
      this.bar, this.progress, this.prompt, this.place, this.note, this.help, this.tiles, this.ties, this.answer.box, this.buttons, this.keymap.box,
    );
  }

  // What a page that was closed had not yet been thanked for is sent first, with its own mark.
  resume() {
    const unsent = localStorage.getItem(UNSENT);
    try {
      this.ask(unsent ? JSON.parse(unsent) : { action: "next" });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      localStorage.removeItem(UNSENT);
      this.ask({ action: "next" });
    }
  }

  rename() {
    localStorage.setItem(NAME, this.name.value);
    this.ask({ action: "next" });
  }

  choose(way) {
    this.way = way;
    localStorage.setItem(WAY, way);
    this.begin(way);
  }

  // The next way to judge, after the last the first again.
  change() {
    const ways = Object.keys(WAYS);
    if (this.group) this.choose(ways[(ways.indexOf(this.judgement.kind) + 1) % ways.length]);
  }

  // Judges the group in hand from what was said of it before, or from nothing.
  begin(way) {
    this.judgement = new Judgement(way, this.group?.pictures.length ?? 0, this.group?.said);
    if (way === "pairs" && this.group?.is_open && this.judgement.isComplete) this.judgement.presses = []; // no pair is left to say something else of, so all are asked anew
    for (const one of this.ways.children) one.setAttribute("aria-pressed", String(one.dataset.way === way));
    this.tiles.dataset.kind = way;
    this.draw();
  }

  // A change in the store: with no group in hand there may be one now, or the one in hand is closed.
  hear(update) {
    if (this.isWaiting) return;
    if (!this.group) {
      if (update.open > 0) this.look();
    } else if (this.group.is_open && update.group === this.group.id && !update.is_open) {
      this.askUnbidden((group) => `Training went on without the group you had in hand.${group ? " Here is the next." : ""}`);
    }
  }

  // Time that another person had a group for runs out without a change in the store. A hidden page takes no group from those who look.
  lookAgain() {
    if (!this.group && !this.isWaiting && this.areOthersOpen && document.visibilityState !== "hidden") this.look();
  }

  look() {
    this.askUnbidden((group) => (group ? "" : null));
  }

  // The next group, for which no key asked: what is being typed was meant for another one, or for none.
  askUnbidden(wordsFor) {
    this.ask({ action: "next" }, { wordsFor, isUnbidden: true });
  }

  hearKey(event) {
    if (this.keymap.take(event) || document.querySelector("dialog[open]")) return;
    const { target } = event;
    if (/^(input|textarea|select)$/i.test(target.tagName) || target.isContentEditable) return;
    const key = keyOf(event);
    if (["Enter", " "].includes(key) && target.closest?.("button:not(.lab-label-press), summary, a")) return;
    const meaning = this.keymap.meaning(key);
    if (!meaning) return;
    event.preventDefault();
    if (!event.repeat) this.obey(meaning);
  }

  obey(meaning) {
    if (this.isWaiting) this.typed.push(meaning);
    else if (this.answer.isResting && JUDGING.includes(meaning.action)) this.answer.leaveOut(1);
    else if (meaning.action === "press") this.press(meaning.member);
    else this[meaning.action]();
  }

  press(member) {
    if (!this.group || !this.judgement) return;
    if (this.judgement.kind === "pairs") {
      if (member < 2) this.decide(["first", "second"][member]);
      return;
    }
    this.saying(() => this.judgement.press(member));
  }

  both() {
    this.decide("both");
  }

  neither() {
    this.decide("neither");
  }

  decide(verdict) {
    if (!this.group) return;
    this.saying(() => this.judgement.decide(verdict));
  }

  // Sends a judgement that a press has completed; a press that said nothing, such as of a tenth picture of eight, sends nothing.
  saying(press) {
    const before = this.judgement.presses.length;
    press();
    this.draw();
    if (this.judgement.presses.length > before && this.judgement.isComplete) this.send();
  }

  send() {
    if (!this.group) return;
    const { kind, isEmpty } = this.judgement;
    if (isEmpty) this.answer.announce(`${WAYS[kind].least}, or skip the group.`); // keys behind it count: the group stays
    else this.put(kind, this.judgement.body());
  }

  skip() {
    if (this.group) this.put("skip", {});
  }

  put(kind, body) {
    const seconds = (performance.now() - this.shownAt) / 1000;
    this.ask({ action: "put", rater: this.name.value, group: this.group.id, kind, body, seconds, request: newMark() });
  }

  // The last press of this group, or what was last said.
  undo() {
    if (this.hasPressed()) {
      this.judgement.presses.pop();
      this.draw();
    } else {
      this.ask({ action: "undo", request: newMark() });
    }
  }

  hasPressed() {
    const before = new Judgement(this.judgement.kind, this.judgement.size, this.group?.said);
    return this.judgement.presses.length > 0 && String(before.presses) !== String(this.judgement.presses);
  }

  back() {
    this.ask({ action: "back", group: this.group?.id ?? null });
  }

  forward() {
    this.ask({ action: "forward", group: this.group?.id ?? null });
  }

  enlarge(member = this.pointedAt()) {
    if (!this.group) return;
    const pages = this.group.pictures.map((url, index) => ({
      url, alt: `picture ${index + 1}`, prompt: this.group.prompt, facts: [["Picture", index + 1], ["Judged", this.judgement.words(index)]].filter(([, words]) => words),
    }));
    enlarge(pages, member);
  }

  pointedAt() {
    const tile = document.activeElement?.closest(".lab-label-tile") ?? this.tiles.querySelector(".lab-label-tile:hover") ?? this.tiles.querySelector(".lab-label-tile");
    return Number(tile?.dataset.member ?? 0);
  }

  // A call that got no answer is made again with the same mark, so that nothing is lost or said twice.
  // wordsFor(group) is said of what came, null leaves the words that stand there.
  async ask(wish, { wordsFor = () => "", isUnbidden = false } = {}) {
    this.isWaiting = true;
    if (wish.action === "put") localStorage.setItem(UNSENT, JSON.stringify(wish));
    let answer = null;
    while (!answer) {
      answer = await this.server.label({ rater: this.name.value, ...wish }).catch(() => null);
      if (!answer) {
        say(this.answer.box, "The lab does not answer. What you said is kept, and sent again until it does.");
        await new Promise((done) => setTimeout(done, RETRY_MS));
      }
    }
    if (wish.action === "put") localStorage.removeItem(UNSENT);
    this.isWaiting = false;
    this.answer.announce(answer.error ?? wordsFor(answer.group));
    if (!answer.error) this.take(answer);
    else if (wish.action === "put" && answer.error.includes("Go on with the next")) this.ask({ action: "next" }, { wordsFor: () => answer.error });
    else this.forget();
    if (isUnbidden && !answer.error && answer.group) this.answer.beginRest();
    for (const meaning of this.typed.splice(0)) this.obey(meaning);
  }

  // What was typed for a group that did not come would be said of the wrong one.
  forget() {
    this.answer.leaveOut(this.typed.splice(0).length);
  }

  take({ group, progress }) {
    this.answer.endRest();
    this.group = group;
    this.areOthersOpen = progress.open > progress.mine;
    this.drawProgress(progress);
    say(this.place, group ? group.title : "");
    say(this.note, group ? group.note : "");
    say(this.prompt, group ? group.prompt : "No group waits for you.");
    for (const part of [this.place, this.help, this.ways]) part.hidden = !group;
    for (const one of this.buttons.children) one.hidden = !group && !["back", "undo"].includes(one.dataset.action);
    for (const action of ["send", "skip"]) this.buttons.querySelector(`[data-action=${action}]`).disabled = group !== null && !group.is_open;
    this.tiles.replaceChildren(...(group ? group.pictures.map((url, member) => this.tile(url, member)) : [emptyWords()]));
    const size = group?.pictures.length ?? 1;
    this.tiles.dataset.size = size > 6 ? "many" : "few";
    this.tiles.style.setProperty("--columns", columnsOf(size));
    this.shownAt = performance.now();
    this.begin(group?.said?.kind ?? this.way);
    if (group) this.fetchNext(group.id);
  }

  // Pictures of the next group are fetched while this one is looked at; where that fails they come later.
  async fetchNext(group) {
    const answer = await this.server.label({ action: "soon", rater: this.name.value, group }).catch(() => null);
    this.ready = (answer?.pictures ?? []).map((url) => Object.assign(new Image(), { src: url }));
  }

  drawProgress({ open, labelled, mine, seconds }) {
    const left = Math.max(0, open - mine);
    const time = seconds ? `, ${seconds.toFixed(1)} s each` + (left ? `, about ${inWords(seconds * left)} left` : "") : "";
    say(this.progress, open ? `${labelled} of ${open} open groups labelled; ${mine} by you${time}` : "");
    this.bar.hidden = !open;
    this.bar.firstElementChild.style.width = `${open ? (100 * labelled) / open : 0}%`;
  }

  tile(url, member) {
    const image = h("img", { src: url, alt: `picture ${member + 1}`, draggable: "false" });
    image.addEventListener("load", () => image.classList.toggle("pixels", image.naturalWidth < SMALL_PICTURE));
    image.addEventListener("error", () => image.replaceWith(h("span", { class: "lab-gone" }, "This picture is gone.")));
    return h("div", { class: "lab-label-tile", "data-member": member },
      h("button", { type: "button", class: "lab-label-press", onclick: () => this.obey({ action: "press", member: this.keyOf(member) }) },
        image, h("span", { class: "lab-label-foot" }, h("kbd", {}), h("span", { class: "lab-label-mark" }))),
      button("\u2922", () => this.enlarge(member), { class: "lab-label-zoom", "aria-label": `enlarge picture ${member + 1}` }));
  }

  // Which picture key a picture has: of a pair, the left one has the first.
  keyOf(member) {
    return this.judgement.kind === "pairs" ? (this.judgement.pair ?? []).indexOf(member) : member;
  }

  draw() {
    const { kind, pair } = this.judgement;
    say(this.help, `${WAYS[kind].help} ${this.judgement.isComplete || kind === "pairs" ? "" : `${this.keymap.shown("send")} sends.`}`);
    if (kind === "pairs" && this.group) say(this.help, [this.judgement.place(), WAYS.pairs.help].filter(Boolean).join(". "));
    this.ties.hidden = kind !== "pairs" || !this.group;
    for (const tile of this.tiles.querySelectorAll(".lab-label-tile")) {
      const member = Number(tile.dataset.member);
      const words = this.judgement.words(member);
      const key = this.keyOf(member);
      tile.hidden = kind === "pairs" && pair !== null && !pair.includes(member);
      tile.style.order = kind === "pairs" ? key : "";
      tile.classList.toggle("disliked", words === "dislike");
      say(tile.querySelector("kbd"), key < 0 ? "" : this.keymap.shown(`picture${key}`));
      say(tile.querySelector(".lab-label-mark"), words);
      const press = tile.querySelector(".lab-label-press");
      press.setAttribute("aria-pressed", words ? "true" : "false");
      press.setAttribute("aria-label", `picture ${member + 1}${words ? `, ${words}` : ""}`);
    }
  }

  drawKeys() {
    for (const one of [...this.buttons.children, ...this.ties.children]) {
      const key = this.keymap.shown(one.dataset.action);
      one.title = key;
      one.dataset.hint = key;
    }
    this.ways.title = this.keymap.shown("change");
    this.draw();
  }
}

// A button that the mouse leaves as it found it: the focus stays free for keys.
const button = (words, act, attributes = {}) => h("button", {
  type: "button", class: "lab-button", ...attributes,
  onclick: (event) => {
    if (event.detail) event.currentTarget.blur();
    act();
  },
}, words);

const emptyWords = () => h("p", { class: "lab-empty" },
  "Groups come here while a run asks people: set People's share of the reward (people.weight) above 0 in its settings and press Start. This page looks for them by itself.");

// crypto.randomUUID is missing where a phone comes over plain http.
const newMark = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// The name under which this browser judges. Until a person gives one it is this browser's own, kept from the first look:
// two people who leave it as it is are two.
const ownName = () => {
  const name = localStorage.getItem(NAME) ?? `me-${newMark().slice(0, 4)}`;
  localStorage.setItem(NAME, name);
  return name;
};

// Rows of one length where that can be.
const columnsOf = (size) => (size <= 5 ? size : [8, 7, 6, 5, 4, 3].find((columns) => size % columns === 0 && size > columns) ?? (size <= 7 ? 4 : 6));

const inWords = (seconds) => (seconds < 90 ? `${Math.ceil(seconds / 5) * 5} s` : `${Math.round(seconds / 60)} min`);
