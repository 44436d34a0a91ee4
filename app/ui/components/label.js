// One group at a time: rank, pick, like or give stars, by keys, mouse or touch; what is typed while waiting is not lost.

import { h, say } from "./dom.js";
import { subscribe } from "./live.js";

const KEYS = "1234567890qwertyuiop";
const MODES = {
  ranking: { name: "Rank", help: "Press them from best to worst; those left out share the last place. Enter sends." },
  picks: { name: "Pick the best", help: "Press the best ones, then Enter." },
  likes: { name: "Like or dislike", help: "Press once to like, twice to dislike, three times for no opinion. Enter sends." },
  stars: { name: "Stars", help: "Press again and again for one to five stars, then none. Enter sends." },
};
const RETRY_MS = 1500;

export function mount({ element, server }) {
  const page = new LabelPage(element, server);
  subscribe("waiting", { cursor: () => null, show: (update) => page.hear(update) });
}

class LabelPage {
  constructor(element, server) {
    this.server = server;
    this.group = null;
    this.marks = []; // one number per picture; its meaning is the mode's
    this.order = []; // pictures in the order they were pressed
    this.typed = []; // keys that came while a group was on its way
    this.isWaiting = false;
    this.name = h("input", { maxlength: 60, value: localStorage.getItem("lab-rater") ?? "me", "aria-label": "Your name", onchange: () => this.rename() });
    this.mode = h("select", { "aria-label": "How to judge", onchange: () => this.choose() },
      Object.entries(MODES).map(([mode, { name }]) => h("option", { value: mode }, name)));
    this.mode.value = localStorage.getItem("lab-label-mode") in MODES ? localStorage.getItem("lab-label-mode") : "ranking";
    this.help = h("p", { class: "lab-label-help" });
    this.prompt = h("h2", { class: "lab-label-prompt", dir: "auto" });
    this.place = h("p", { class: "lab-label-place" });
    this.tiles = h("div", { class: "lab-label-tiles" });
    this.answer = h("p", { class: "lab-answer", role: "status" });
    this.progress = h("p", { class: "lab-label-progress" });
    const button = (action, text, onclick) => h("button", { type: "button", class: "lab-button", "data-action": action, onclick }, text);
    this.buttons = h("div", { class: "lab-buttons" },
      button("send", "Send (Enter)", () => this.send()), button("skip", "Skip (Backspace)", () => this.skip()),
      button("undo", "Undo (Ctrl-Z)", () => this.undo()));
    element.classList.add("lab-card", "lab-label");
    element.append(
      h("div", { class: "lab-label-head" }, h("label", {}, "name ", this.name), h("label", {}, "judge by ", this.mode), this.progress),
      this.help, this.place, this.prompt, this.tiles, this.buttons, this.answer,
    );
    document.addEventListener("keydown", (event) => this.press(event));
    this.choose();
    this.ask({ action: "next" });
  }

  rename() {
    localStorage.setItem("lab-rater", this.name.value);
    this.ask({ action: "next" });
  }

  choose() {
    localStorage.setItem("lab-label-mode", this.mode.value);
    say(this.help, MODES[this.mode.value].help);
    this.clear();
  }

  clear() {
    this.marks = this.group ? this.group.pictures.map(() => 0) : [];
    this.order = [];
    this.draw();
  }

  // A change in the store: with no group in hand there may be one now.
  hear(update) {
    if (!this.group && !this.isWaiting && update.open > 0) this.ask({ action: "next" });
  }

  press(event) {
    if (/^(input|textarea|select)$/i.test(event.target.tagName) || event.altKey || event.metaKey) return;
    const isUndo = event.ctrlKey && event.key.toLowerCase() === "z";
    if (event.ctrlKey && !isUndo) return;
    const known = isUndo || event.key === "Enter" || event.key === "Backspace" || KEYS.includes(event.key.toLowerCase());
    if (!known || event.repeat) return;
    event.preventDefault();
    this.obey(isUndo ? "undo" : event.key.toLowerCase());
  }

  obey(key) {
    if (this.isWaiting) this.typed.push(key);
    else if (key === "undo") this.undo();
    else if (key === "enter") this.send();
    else if (key === "backspace") this.skip();
    else this.mark(KEYS.indexOf(key));
  }

  mark(member) {
    if (!this.group || member >= this.marks.length || this.isWaiting) return;
    const mode = this.mode.value;
    if (mode === "likes") this.marks[member] = (this.marks[member] + 1) % 3;
    else if (mode === "stars") this.marks[member] = (this.marks[member] + 1) % 6;
    else if (this.order.includes(member)) this.order = this.order.filter((one) => one !== member);
    else this.order.push(member);
    this.draw();
    if (mode === "ranking" && this.order.length === this.marks.length) this.send();
  }

  body() {
    const chosen = (mark) => this.marks.flatMap((one, member) => (one === mark ? [member] : []));
    if (this.mode.value === "ranking") return { tiers: this.order.map((member) => [member]) };
    if (this.mode.value === "picks") return { best: this.order };
    if (this.mode.value === "likes") return { liked: chosen(1), disliked: chosen(2) };
    return { stars: this.marks.map((one) => one || null) };
  }

  send() {
    if (this.group && !this.isWaiting) this.put(this.mode.value, this.body());
  }

  skip() {
    if (this.group && !this.isWaiting) this.put("skip", {});
  }

  put(kind, body) {
    const seconds = (performance.now() - this.shownAt) / 1000;
    this.ask({ action: "put", group: this.group.id, kind, body, seconds, request: crypto.randomUUID() });
  }

  // The last press of this group, or the last group.
  undo() {
    if (this.isWaiting) return;
    if (this.order.length) {
      this.order.pop();
      this.draw();
    } else if (this.marks.some((one) => one)) {
      this.clear();
    } else {
      this.ask({ action: "undo", request: crypto.randomUUID() });
    }
  }

  // A call that got no answer is made again with the same mark, so that nothing is lost or said twice.
  async ask(wish) {
    this.isWaiting = true;
    let answer = null;
    while (!answer) {
      answer = await this.server.label({ ...wish, rater: this.name.value }).catch(() => null);
      if (!answer) {
        say(this.answer, "The lab does not answer. Your label is kept and sent again.");
        await new Promise((done) => setTimeout(done, RETRY_MS));
      }
    }
    this.isWaiting = false;
    say(this.answer, answer.error ?? "");
    if (!answer.error) this.take(answer);
    else if (wish.action === "put" && answer.error.includes("Go on with the next")) this.ask({ action: "next" });
    else this.typed = [];
    const typed = this.typed.splice(0);
    for (const key of typed) this.obey(key);
  }

  take({ group, progress }) {
    this.group = group;
    const pace = progress.seconds ? `, ${progress.seconds.toFixed(1)} s each` : "";
    say(this.progress, `${progress.labelled} of ${progress.open} open groups labelled; ${progress.mine} by you${pace}`);
    say(this.place, group ? group.title : "");
    say(this.prompt, group ? group.prompt : "No group waits for you.");
    this.buttons.hidden = !group;
    this.tiles.replaceChildren(...(group ? group.pictures.map((url, member) => this.tile(url, member)) : [
      h("p", { class: "lab-empty" }, "Groups come here while a run asks people: set people.weight above 0 in its settings and press Start."),
    ]));
    this.shownAt = performance.now();
    this.clear();
  }

  tile(url, member) {
    return h("button", { type: "button", class: "lab-label-tile", "data-member": member, onclick: () => this.mark(member) },
      h("img", { src: url, alt: `picture ${member + 1}` }),
      h("kbd", {}, KEYS[member] ?? ""), h("span", { class: "lab-label-mark" }));
  }

  draw() {
    for (const [member, tile] of [...this.tiles.querySelectorAll("[data-member]")].entries()) {
      const text = this.words(member);
      say(tile.querySelector(".lab-label-mark"), text);
      tile.setAttribute("aria-pressed", text ? "true" : "false");
      tile.setAttribute("aria-label", `picture ${member + 1}${text ? `, ${text}` : ""}`);
    }
  }

  words(member) {
    const place = this.order.indexOf(member) + 1;
    if (this.mode.value === "ranking") return place ? `${place}.` : "";
    if (this.mode.value === "picks") return place ? "best" : "";
    if (this.mode.value === "likes") return ["", "like", "dislike"][this.marks[member]] ?? "";
    return "\u2605".repeat(this.marks[member] ?? 0);
  }
}
