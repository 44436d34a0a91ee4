// The status card: what the shown run does now, and the buttons that act on it.

import { leadToAlarm } from "./alarms.js";
import { h, say } from "./dom.js";
import { clock, duration, fixed, signed } from "./format.js";
import { refresh, show, subscribe } from "./live.js";

const ACTIONS = [
  ["pause", "Pause", "Pausing after this step"],
  ["go_on", "Go on", "Going on"],
  ["resume", "Resume", "Resuming"],
  ["stop", "Stop", "Stopping"],
  ["save", "Save now", "Saving after this step"],
];
const NO_RUN = "Choose a recipe and press Start: the first pictures appear within seconds, and the first gain within minutes.";

export function mount({ element, server, trigger, events }) {
  const card = new StatusCard(element, (action) => server.act({ action, run: card.shown }));
  let shown = null;
  subscribe("status", {
    cursor: () => null,
    show: (update, page) => {
      card.show(update.run, page);
      const now = `${page.live} ${update.run?.id} ${update.run?.state}`;
      if (now !== shown) trigger(events[0], { live: page.live !== null });
      shown = now;
    },
  });
}

class StatusCard {
  constructor(element, act) {
    this.act = act;
    this.shown = null;
    this.state = null;
    this.waiting = null; // the action that was pressed and has not shown in the run yet
    this.isTold = false; // whether the lab has answered that it does so
    this.title = h("h2", {}, "No run yet");
    this.badge = h("span", { class: "lab-badge", role: "status" });
    this.follow = h("button", { type: "button", class: "lab-link", hidden: true, onclick: () => show(null) });
    this.words = h("p", { class: "lab-headline" }, NO_RUN);
    this.message = h("p", { class: "lab-message", hidden: true });
    this.alarm = alarmLine();
    this.steps = bar("Steps done");
    this.phase = bar("Progress of the present phase");
    this.facts = h("dl", { class: "lab-facts", hidden: true });
    this.answer = h("p", { class: "lab-answer", role: "alert" });
    this.failure = failureBox();
    this.buttons = new Map(ACTIONS.map(([action, label]) => [action, this.button(action, label)]));
    this.row = h("div", { class: "lab-buttons", hidden: true }, ...this.buttons.values());
    element.classList.add("lab-card", "lab-status");
    element.append(
      h("div", { class: "lab-title" }, this.title, this.badge, this.follow),
      this.words, this.message, this.alarm.box, this.steps.box, this.phase.box, this.facts, this.failure.box, this.row, this.answer,
    );
  }

  button(action, label) {
    return h("button", { type: "button", class: "lab-button", "data-action": action, onclick: () => this.press(action) }, label);
  }

  async press(action) {
    this.waiting = action;
    this.isTold = false;
    this.label();
    say(this.answer, "");
    const answer = await this.act(action).catch(() => null);
    this.isTold = true;
    if ((!answer || answer.error) && this.waiting === action) this.waiting = null;
    say(this.answer, answer ? (answer.error ?? answer.done ?? "") : "The lab did not answer. Try again.");
    this.label();
    refresh();
  }

  show(run, page) {
    if (!run) return this.clear();
    if (this.isAnswered(run)) this.waiting = null;
    if (run.id !== this.shown) say(this.answer, "");
    this.shown = run.id;
    this.state = run.state;
    this.can = run.can;
    say(this.title, run.name);
    say(this.badge, run.state);
    this.badge.dataset.state = run.state;
    this.follow.hidden = page.live === null || page.live === run.id;
    say(this.follow, "Another run is live: show it");
    say(this.words, run.headline);
    this.words.hidden = !run.headline;
    say(this.message, run.message);
    this.message.hidden = !run.message;
    this.alarm.show(run.alarm);
    this.showProgress(run);
    this.showFacts(run);
    this.failure.show(run.details);
    this.label();
  }

  // Whether the run shows what was asked of it. A stop is under way until there is nothing left to stop; a run that
  // failed again as soon as it was resumed looks as before.
  isAnswered(run) {
    if (run.id !== this.shown || this.waiting === "save") return true;
    if (this.waiting === "resume" && this.isTold && run.can.includes("resume")) return true;
    return this.waiting === "stop" ? !run.can.includes("stop") : run.state !== this.state;
  }

  // As before the first run: the one that was shown is gone.
  clear() {
    if (this.shown === null) return;
    this.shown = this.state = this.waiting = null;
    this.can = [];
    say(this.title, "No run yet");
    say(this.badge, "");
    say(this.words, NO_RUN);
    say(this.answer, "");
    this.words.hidden = false;
    this.follow.hidden = this.message.hidden = this.steps.box.hidden = this.phase.box.hidden = this.facts.hidden = true;
    this.alarm.show(null);
    this.failure.show("");
    this.label();
  }

  showProgress(run) {
    const left = run.seconds_left === null ? "" : `, about ${duration(run.seconds_left)} left`;
    this.steps.show(run.steps_done, run.num_steps, `${run.steps_done} of ${run.num_steps} steps done${left}`);
    this.phase.box.hidden = !run.phase || run.state === "paused";
    this.phase.show(run.phase_done, run.phase_total, run.phase);
  }

  showFacts(run) {
    const change = run.first_score === null || run.last_score === null ? "" : ` (${signed(run.last_score - run.first_score)})`;
    const score = run.first_score === null ? null : `${fixed(run.first_score)} → ${fixed(run.last_score)}${change}`;
    const pace = run.seconds_per_step === null ? null : `${run.seconds_per_step.toFixed(run.seconds_per_step < 10 ? 1 : 0)} s`;
    const facts = [["Held-out score", score], ["Per step", pace], ["Began", clock(run.created)]];
    const rows = facts.filter(([, value]) => value !== null);
    this.facts.hidden = rows.length === 0;
    this.facts.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  label() {
    this.row.hidden = this.shown === null;
    for (const [action, label, busy] of ACTIONS) {
      const button = this.buttons.get(action);
      const isPossible = this.can?.includes(action) ?? false;
      const isBusy = action === "stop" ? this.waiting === "stop" : this.waiting !== null;
      button.disabled = !isPossible || isBusy;
      // Pause and Go on share a place, and Resume appears only where there is something to resume.
      button.hidden = !isPossible && (action === "go_on" || action === "resume" || (action === "pause" && this.can?.includes("go_on")));
      say(button, this.waiting === action ? `${busy} …` : label);
    }
  }
}

function alarmLine() {
  const title = h("strong", {});
  const words = h("span", {});
  const lead = h("button", { type: "button", class: "lab-link", "data-action": "alarm", onclick: leadToAlarm }, "See its pictures");
  const box = h("p", { class: "lab-trouble", role: "alert", hidden: true }, title, " ", words, " ", lead);
  return {
    box,
    show(alarm) {
      box.hidden = !alarm;
      say(title, alarm ? `Alarm at step ${alarm.step}.` : "");
      say(words, alarm ? alarm.words : "");
    },
  };
}

function bar(label) {
  const meter = h("progress", { "aria-label": label });
  const words = h("span", {});
  const box = h("div", { class: "lab-bar", hidden: true }, meter, words);
  return {
    box,
    show(done, total, text) {
      if (total > 0) {
        meter.max = total;
        meter.value = Math.min(done, total);
      } else meter.removeAttribute("value");
      if (label === "Steps done") box.hidden = false;
      say(words, text);
    },
  };
}

function failureBox() {
  const text = h("pre", { tabindex: "0" });
  const box = h("details", { hidden: true }, h("summary", {}, "Details of the failure"), text);
  return {
    box,
    show(details) {
      box.hidden = !details;
      say(text, details);
    },
  };
}
