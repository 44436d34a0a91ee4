// The group wall: one row per prompt, its pictures from best to worst reward, the two sides of the preference apart.

import { h, say, svg } from "./dom.js";
import { fixed, percent, signed } from "./format.js";
import { refresh, subscribe } from "./live.js";
import { enlarge } from "./large.js";

const NO_PREFERENCE = "All pictures of this group have the same reward, so there is nothing to prefer and the step did not train on it.";
const GATE = "How strongly this group still pulls: one half at the start, less once its preference is satisfied.";

export function mount({ element }) {
  const wall = new Wall(element);
  subscribe("wall", { cursor: () => wall.cursor(), show: (update) => wall.take(update) });
}

class Wall {
  constructor(element) {
    this.wanted = null; // a step, or null for the newest
    this.run = null;
    this.step = null;
    this.rows = h("div", { class: "lab-groups" });
    this.empty = h("p", { class: "lab-empty" }, "Groups appear when the first step is done.");
    this.walk = new StepWalk((step) => this.go(step));
    element.classList.add("lab-card", "lab-wall");
    element.append(
      h("div", { class: "lab-title" }, h("h2", {}, "Groups"), this.walk.box), legend(), this.empty, this.rows,
    );
    this.rows.addEventListener("keydown", (event) => moveFocus(event, this.rows));
  }

  cursor() {
    return { run: this.run, step: this.wanted, shown: this.step };
  }

  go(step) {
    this.wanted = step;
    refresh();
  }

  take(update) {
    if (update.run !== this.run) this.wanted = null;
    this.run = update.run;
    this.walk.show(update.step ?? null, update.latest ?? null, this.wanted === null);
    if (!update.groups) return;
    this.step = update.step;
    this.empty.hidden = update.groups.length > 0;
    const focus = focusedPlace(this.rows);
    this.rows.replaceChildren(...update.groups.map((group) => groupRow(group, update)));
    restoreFocus(this.rows, focus);
  }
}

// Older, newer and live, and a slider over all steps.
class StepWalk {
  constructor(go) {
    this.step = null;
    this.latest = null;
    this.isHeld = false; // the slider, by a mouse or finger: where it is held it stays until it is let go
    const button = (label, title, onclick) => h("button", { type: "button", class: "lab-button small", title, onclick }, label);
    this.older = button("Older", "The step before", () => go(this.step - 1));
    this.newer = button("Newer", "The step after", () => go(this.step + 1));
    this.live = button("Live", "Always the newest step", () => go(null));
    this.slider = h("input", { type: "range", min: 0, "aria-label": "Step shown", onchange: () => go(this.slider.valueAsNumber) });
    this.words = h("span", { class: "lab-step", "aria-live": "polite" });
    this.slider.addEventListener("input", () => say(this.words, `step ${this.slider.valueAsNumber}`));
    this.slider.addEventListener("pointerdown", () => { this.isHeld = true; });
    for (const end of ["pointerup", "pointercancel"]) this.slider.addEventListener(end, () => { this.isHeld = false; });
    this.box = h("div", { class: "lab-walk", hidden: true }, this.words, this.older, this.slider, this.newer, this.live);
  }

  show(step, latest, isLive) {
    this.box.hidden = step === null;
    if (step === null) return;
    this.step = step;
    this.latest = latest;
    if (!this.isHeld) {
      this.slider.max = latest;
      if (document.activeElement !== this.slider || isLive) this.slider.value = step;
      say(this.words, `step ${step}`);
    }
    this.older.disabled = step <= 0;
    this.newer.disabled = step >= latest;
    this.live.setAttribute("aria-pressed", String(isLive));
  }
}

function legend() {
  return h("p", { class: "lab-legend" },
    h("span", { class: "lab-key preferred" }, "+ preferred: better than its group, pulled towards"),
    h("span", { class: "lab-key dispreferred" }, "− dispreferred: pushed away from"),
    h("span", { class: "lab-key neutral" }, "= neutral: pulled neither way"),
    h("span", { class: "lab-key-note" }, "numbers: reward, then advantage"));
}

function groupRow(group, wall) {
  const flag = group.has_preference ? null : h("span", { class: "lab-flag", tabindex: "0", "data-tip": NO_PREFERENCE, "aria-label": `no preference. ${NO_PREFERENCE}` }, "no preference");
  const sides = Object.keys(SIDES).map((side) => [side, group.samples.filter((sample) => sample.side === side)]);
  return h("section", { class: "lab-group", "aria-label": `Group of: ${group.prompt}` },
    h("header", {},
      h("h3", { dir: "auto" }, group.prompt), flag,
      h("span", { class: "lab-numbers" }, `mean ${fixed(group.mean)} ± ${fixed(group.std)}`), gate(group), strip(group, wall)),
    h("div", { class: "lab-samples" },
      sides.filter(([, samples]) => samples.length).map(([side, samples]) =>
        h("div", { class: `lab-side ${side}` }, samples.map((sample) => tile(sample, group, wall))))));
}

function gate(group) {
  if (!group.has_preference || group.gate === null) return null; // the rivals of DGPO have none
  return h("span", { class: "lab-gate", title: GATE }, `gate ${fixed(group.gate)}`,
    h("meter", { min: 0, max: 1, value: group.gate, "aria-label": `gate ${fixed(group.gate)}` }));
}

// Every reward of the group as a dot on the step's common axis, with the mean and one standard deviation around it.
function strip(group, wall) {
  const span = wall.high - wall.low || 1;
  const place = (value) => 4 + (112 * (value - wall.low)) / span;
  const kept = (value) => Math.min(116, Math.max(4, place(value)));
  const dots = group.samples.filter((sample) => sample.reward !== null).map((sample) =>
    svg("circle", { cx: place(sample.reward), cy: 10, r: 3.2, class: sample.side }));
  const label = `Rewards of this group on an axis from ${fixed(wall.low)} to ${fixed(wall.high)}, mean ${fixed(group.mean)}, spread ${fixed(group.std)}`;
  return svg("svg", { class: "lab-strip", viewBox: "0 0 120 20", role: "img", "aria-label": label },
    svg("title", {}, label),
    svg("line", { x1: 4, x2: 116, y1: 10, y2: 10, class: "axis" }),
    svg("rect", { x: kept(group.mean - group.std), width: Math.max(1, kept(group.mean + group.std) - kept(group.mean - group.std)), y: 5, height: 10, class: "spread" }),
    ...dots,
    svg("line", { x1: place(group.mean), x2: place(group.mean), y1: 2, y2: 18, class: "mean" }));
}

const SIDES = { preferred: "+", dispreferred: "−", neutral: "=" };

function tile(sample, group, wall) {
  const alt = `${group.prompt}: reward ${fixed(sample.reward)}, ${sample.side}`;
  return h("button", {
    type: "button", class: "lab-tile", "data-member": sample.member, tabindex: "-1",
    onclick: () => enlarge(group.samples.map((one) => page(one, group, wall)), group.samples.indexOf(sample), { back: "Better", next: "Worse" }),
  },
    h("img", { src: sample.url, alt, loading: "lazy", decoding: "async" }),
    h("span", { class: "lab-sign", "aria-hidden": "true" }, SIDES[sample.side]),
    h("span", { class: "lab-reward" }, fixed(sample.reward)),
    h("span", { class: "lab-advantage" }, signed(sample.advantage, 1)));
}

// What the large view says of a sample.
function page(sample, group, wall) {
  return {
    url: sample.url,
    prompt: group.prompt,
    alt: `${group.prompt}: reward ${fixed(sample.reward)}, ${sample.side}`,
    facts: [
      ["Reward", fixed(sample.reward, 4)],
      ...sample.terms.map(([name, value]) => [name.replaceAll("_", " "), fixed(value, 4)]),
      ["Advantage", `${signed(sample.advantage, 3)} (${sample.side})`],
      ["Step", String(wall.step)],
      ["Member", `${sample.member + 1} of ${group.samples.length}`],
      ["Seed", sample.seed],
    ],
  };
}

// One tab stop for the wall; arrows move between pictures and rows.
function moveFocus(event, rows) {
  const tile = event.target.closest(".lab-tile");
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
  if (!tile || !step) return;
  const grid = [...rows.children].map((row) => [...row.querySelectorAll(".lab-tile")]);
  const row = grid.findIndex((tiles) => tiles.includes(tile));
  const tiles = grid[Math.min(grid.length - 1, Math.max(0, row + step[0]))];
  const next = tiles[Math.min(tiles.length - 1, Math.max(0, grid[row].indexOf(tile) + step[1]))];
  event.preventDefault();
  tile.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function focusedPlace(rows) {
  const row = [...rows.children].findIndex((one) => one.contains(document.activeElement));
  return row < 0 ? null : [row, [...rows.children[row].querySelectorAll(".lab-tile")].indexOf(document.activeElement)];
}

function restoreFocus(rows, place) {
  const tiles = rows.children[place?.[0] ?? 0]?.querySelectorAll(".lab-tile") ?? [];
  const tile = tiles[Math.min(tiles.length - 1, Math.max(0, place?.[1] ?? 0))];
  if (!tile) return;
  tile.tabIndex = 0;
  if (place) tile.focus({ preventScroll: true });
}
