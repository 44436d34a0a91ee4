// A button that saves a text as a file: props.value is {name, text}. The file is made in the browser.

import { h } from "./dom.js";

export function mount({ element, props, watch }) {
  function save() {
    const url = URL.createObjectURL(new Blob([props.value.text], { type: "text/plain" }));
    h("a", { href: url, download: props.value.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  const button = h("button", { type: "button", onclick: save }, props.label);
  const draw = () => {
    button.disabled = !props.value;
  };
  element.classList.add("lab-download");
  element.append(button);
  draw();
  watch("value", draw);
}
