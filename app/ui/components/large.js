// One picture large, with what is known of it; arrow keys walk to its neighbours, Escape closes.

import { h } from "./dom.js";

let dialog = null;

// Shows pages[at]; a page is {url, alt, prompt, facts: [[name, value], ...]}.
export function enlarge(pages, at) {
  dialog ??= build();
  dialog.pages = pages;
  draw(at);
  dialog.box.showModal();
}

function build() {
  const image = h("img", {});
  const prompt = h("h3", { dir: "auto" });
  const facts = h("dl", {});
  const button = (label, onclick) => h("button", { type: "button", class: "lab-button small", onclick }, label);
  const back = button("Better", () => draw(dialog.at - 1));
  const next = button("Worse", () => draw(dialog.at + 1));
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
