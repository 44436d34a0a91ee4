// The run's diary: what happened, newest first.

import { h, say } from "./dom.js";
import { clock } from "./format.js";
import { subscribe } from "./live.js";

const MAX_LINES = 200;

export function mount({ element }) {
  let run = null;
  let last = 0;
  const lines = h("ol", { class: "lab-diary", reversed: true });
  const newest = h("span", { dir: "auto" });
  const box = h("details", { class: "lab-card", hidden: true }, h("summary", {}, "Diary: ", newest), lines);
  element.append(box);
  subscribe("diary", {
    cursor: () => ({ run, last }),
    show: (update) => {
      if (update.run !== run) lines.replaceChildren();
      run = update.run;
      last = update.last;
      lines.prepend(...update.lines.map(line).reverse());
      while (lines.children.length > MAX_LINES) lines.lastElementChild.remove();
      say(newest, lines.firstElementChild?.lastElementChild.textContent ?? "");
      box.hidden = lines.children.length === 0;
    },
  });
}

const line = (entry) =>
  h("li", { "data-kind": entry.kind }, h("time", { datetime: entry.created }, clock(entry.created)),
    h("span", {}, `step ${entry.step}`), h("span", { dir: "auto" }, entry.message));
