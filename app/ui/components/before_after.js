// Before and after of one comparison: a slider over the open pair, and the grid of all pairs.
// Draws the plain value of comparison_views.gallery(); everything a person wrote is set as text.

import { h, say } from "./dom.js";
import { holdToFlicker } from "./flicker.js";

const PAIRS_AT_ONCE = 24;
const SMALL_PICTURE = 256; // pixels; smaller ones are enlarged pixel by pixel
const WORDS = { better: "got better", worse: "got worse", same: "same", unscored: "no score" };
const MARKS = { better: "▲", worse: "▼", same: "=", unscored: "?" };

const scoreWords = (score) => (score === null ? "no score" : `score ${score}`);
const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function picture(side, pair, attributes = {}) {
  const { sha, score } = pair[side];
  const alt = `${side}: ${pair.prompt}, ${scoreWords(score)}`;
  const image = h("img", { src: `/pictures/${sha}.png`, alt, draggable: "false", ...attributes });
  image.addEventListener("load", () => image.classList.toggle("pixels", image.naturalWidth < SMALL_PICTURE));
  return image;
}

function slider() {
  const range = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Share of the picture before" });
  const pictures = h("div", { class: "pictures" });
  const stage = h(
    "div",
    { class: "stage" },
    pictures,
    h("span", { class: "side left", "aria-hidden": "true" }, "before"),
    h("span", { class: "side right", "aria-hidden": "true" }, "after"),
    h("span", { class: "line", "aria-hidden": "true" }),
    range,
  );
  const showAt = (percent) => {
    range.value = percent;
    stage.style.setProperty("--at", `${percent}%`);
    range.setAttribute("aria-valuetext", `${percent}% before, ${100 - percent}% after`);
  };
  range.addEventListener("input", () => showAt(Number(range.value)));
  return {
    stage,
    showAt,
    focus: () => {
      stage.scrollIntoView({ block: "nearest", behavior: isCalm() ? "auto" : "smooth" });
      range.focus({ preventScroll: true });
    },
    show: (pair) => pictures.replaceChildren(picture("after", pair), picture("before", pair)),
  };
}

// The words beside the slider, and the way to the neighbours.
function captions(move, hold) {
  const prompt = h("p", { class: "prompt" });
  const facts = h("p", { class: "facts" });
  const place = h("span", { "aria-live": "polite" });
  const sides = { before: [h("dt"), h("dd")], after: [h("dt"), h("dd")] };
  const previous = h("button", { type: "button", class: "lab-button small", onclick: () => move(-1) }, "Previous");
  const next = h("button", { type: "button", class: "lab-button small", onclick: () => move(1) }, "Next");
  const about = h(
    "div",
    { class: "about" },
    prompt,
    facts,
    h("dl", {}, sides.before, sides.after),
    h("div", { class: "steps" }, previous, place, next, hold),
  );
  const show = (value, pair, index, total) => {
    say(prompt, pair.prompt);
    say(facts, `${pair.category || "no category"} · seed ${pair.seed} · ${MARKS[pair.verdict]} ${WORDS[pair.verdict]}`);
    say(place, `${index + 1} of ${total}`);
    for (const [side, [term, details]] of Object.entries(sides)) {
      say(term, `${value[`${side}_label`]} · ${scoreWords(pair[side].score)}`);
      say(details, pair[side].details);
    }
    previous.disabled = index <= 0;
    next.disabled = index >= total - 1;
  };
  return { about, show };
}

function tile(pair, index, onOpen) {
  const scores = pair.verdict === "unscored" ? WORDS.unscored : `${pair.before.score} → ${pair.after.score}`;
  return h(
    "button",
    { type: "button", class: `pair ${pair.verdict}`, "data-index": index, onclick: () => onOpen(index) },
    h("span", { class: "pictures" }, ["before", "after"].map((side) => picture(side, pair, { loading: "lazy" }))),
    h("span", { class: "scores" }, `${MARKS[pair.verdict]} ${scores}`),
    h("span", { class: "words" }, pair.prompt),
  );
}

export function mount({ element, props, watch }) {
  const view = { comparison: null, open: 0, shown: [], limit: PAIRS_AT_ONCE, category: null, verdict: null };
  const { stage, showAt, focus, show } = slider();
  const hold = h("button", { type: "button", class: "lab-button small hold" }, "Hold to flicker (key B)");
  const words = captions((by) => openPair(view.shown[view.shown.indexOf(view.open) + by]), hold);
  const category = h("select", { class: "lab-button small", "aria-label": "Category", onchange: chooseCategory });
  const verdicts = h("span", { class: "chips" });
  const grid = h("div", { class: "grid" });
  const none = h("p", { class: "none" }, "No pair passes both filters.");
  const more = h("button", { type: "button", class: "lab-button more", onclick: showMore });

  element.classList.add("before-after", "lab-card");
  element.append(
    h("div", { class: "open-pair" }, stage, words.about),
    h("div", { class: "filters", role: "group", "aria-label": "Pairs shown" }, category, verdicts),
    grid,
    none,
    more,
  );
  holdToFlicker(stage, hold, isCalm);

  function openPair(index) {
    if (index === undefined) return;
    view.open = index;
    const pair = props.value.pairs[index];
    show(pair);
    words.show(props.value, pair, view.shown.indexOf(index), view.shown.length);
    markOpen();
  }

  function markOpen() {
    for (const one of grid.children) one.setAttribute("aria-pressed", String(Number(one.dataset.index) === view.open));
  }

  function drawGrid() {
    const openTile = (index) => {
      openPair(index);
      focus();
    };
    const tiles = view.shown.slice(0, view.limit).map((index) => tile(props.value.pairs[index], index, openTile));
    grid.replaceChildren(...tiles);
    none.hidden = view.shown.length > 0;
    more.hidden = view.shown.length <= view.limit;
    say(more, `Show ${Math.min(PAIRS_AT_ONCE, view.shown.length - view.limit)} more`);
    markOpen();
  }

  function drawVerdicts(pairs) {
    const chips = [null, ...Object.keys(WORDS)].map((name) => {
      const count = pairs.filter((pair) => name === null || pair.verdict === name).length;
      const text = name === null ? `all ${count}` : `${MARKS[name]} ${WORDS[name]} ${count}`;
      const isChosen = name === view.verdict;
      const choose = () => {
        view.verdict = name;
        filter();
      };
      const attributes = { type: "button", class: "lab-button small chip", "aria-pressed": String(isChosen), "data-verdict": name ?? "all" };
      return h("button", { ...attributes, disabled: count === 0 && !isChosen, onclick: choose }, text);
    });
    const focused = document.activeElement?.closest?.(".chip")?.dataset.verdict;
    verdicts.replaceChildren(...chips);
    if (focused) verdicts.querySelector(`[data-verdict="${focused}"]`)?.focus();
  }

  function filter() {
    const entries = props.value.pairs.map((pair, index) => ({ pair, index }));
    const inCategory = entries.filter(({ pair }) => view.category === null || pair.category === view.category);
    const passing = inCategory.filter(({ pair }) => view.verdict === null || pair.verdict === view.verdict);
    view.shown = passing.map(({ index }) => index);
    view.limit = PAIRS_AT_ONCE;
    drawVerdicts(inCategory.map(({ pair }) => pair));
    drawGrid();
    openPair(view.shown.includes(view.open) ? view.open : view.shown[0]);
  }

  function chooseCategory() {
    view.category = category.selectedIndex === 0 ? null : category.value;
    filter();
  }

  function showMore() {
    view.limit += PAIRS_AT_ONCE;
    drawGrid();
  }

  function draw() {
    const value = props.value;
    element.hidden = !value?.pairs?.length;
    if (element.hidden) return;
    if (value.id !== view.comparison) {
      Object.assign(view, { comparison: value.id, open: 0, category: null, verdict: null });
      showAt(50);
    }
    const names = value.categories.map((name) => h("option", { value: name }, name || "no category"));
    category.replaceChildren(h("option", {}, "all categories"), ...names);
    filter();
  }

  draw();
  watch("value", draw);
}
