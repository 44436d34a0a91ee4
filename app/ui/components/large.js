// One picture large, with what is known of it; arrow keys walk to its neighbours, Escape closes.

import { h, say } from "./dom.js";
import { fixed } from "./format.js";

let dialog = null;

// Shows pages[at]; a page is {url, alt, prompt, facts: [[name, value], ...]}. back and next say where the arrows lead.
export function enlarge(pages, at, { back = "Previous", next = "Next" } = {}) {
  dialog ??= build();
  dialog.pages = pages;
  say(dialog.back, back);
  say(dialog.next, next);
  draw(at);
  dialog.box.showModal();
}

// pages[at] small, with its prompt and any further nodes below it; a click shows it large.
export const captionedTile = (pages, at, ...below) =>
  h("button", { type: "button", class: "lab-tile", onclick: () => enlarge(pages, at) },
    h("img", { src: pages[at].url, alt: pages[at].alt, loading: "lazy" }),
    h("span", { class: "lab-caption", dir: "auto" }, pages[at].prompt), below);

function build() {
  const image = h("img", {});
  const prompt = h("h3", { dir: "auto" });
  const facts = h("dl", {});
  const button = (label, onclick) => h("button", { type: "button", class: "lab-button small", onclick }, label);
  const back = button("Previous", () => draw(dialog.at - 1));
  const next = button("Next", () => draw(dialog.at + 1));
  const close = button("Close", () => dialog.box.close());
  const box = h("dialog", { class: "lab-large", "aria-label": "One picture large" },
    h("div", { class: "lab-large-body" }, image, h("div", {}, prompt, facts)),
    h("div", { class: "lab-buttons" }, back, next, close));
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") draw(dialog.at - 1);
    if (event.key === "ArrowRight") draw(dialog.at + 1);
  });
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  return { box, image, prompt, facts, back, next, pages: [], at: 0 };
}

function draw(at) {
  const page = dialog.pages[at];
  if (!page) return;
  dialog.at = at;
  dialog.image.src = page.url;
  dialog.image.alt = page.alt;
  dialog.prompt.textContent = page.prompt;
  dialog.facts.replaceChildren(...page.facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { dir: "auto" }, value))));
  dialog.back.hidden = dialog.next.hidden = dialog.pages.length < 2;
  dialog.back.disabled = at === 0;
  dialog.next.disabled = at === dialog.pages.length - 1;
}

// The page of a picture that was drawn from one prompt and judged.
export const examinedPage = (sample) => ({
  url: sample.url,
  alt: sample.score === null ? sample.prompt : `${sample.prompt}: score ${fixed(sample.score)}`,
  prompt: sample.prompt,
  facts: [
    ["Score", sample.score === null ? "" : fixed(sample.score)],
    ["Verdict", sample.details],
    ["Category", sample.category],
    ["Seed", sample.seed],
  ].filter(([, value]) => value),
});
