// Shows a few lines of plain text; nothing when there are none. A screen reader hears them when they change.

import { h } from "./dom.js";

export function mount({ element, props, watch }) {
  function draw() {
    const lines = (props.value ?? "").split("\n").filter((line) => line.trim());
    element.hidden = lines.length === 0;
    element.replaceChildren(...lines.map((line) => h("p", {}, line)));
  }

  element.classList.add("lab-words");
  element.setAttribute("role", "status");
  draw();
  watch("value", draw);
}
