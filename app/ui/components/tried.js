// The pictures of a trial of a reward, best first, each with its number and what the reward says of it.

import { h } from "./dom.js";
import { fixed } from "./format.js";

export function mount({ element, props, watch }) {
  const tile = ({ url, reward, words }) =>
    h("figure", { class: "lab-tile graded", title: words || null },
      h("img", { src: url, alt: words || "a picture that was tried", loading: "lazy", decoding: "async" }),
      h("span", { class: "lab-reward" }, fixed(reward)),
      h("figcaption", { class: "lab-caption", dir: "auto" }, words));

  function draw() {
    const pictures = props.value?.pictures ?? [];
    element.hidden = pictures.length === 0;
    element.replaceChildren(h("div", { class: "lab-previews" }, pictures.map(tile)));
  }

  element.classList.add("lab-card", "lab-tried");
  draw();
  watch("value", draw);
}
