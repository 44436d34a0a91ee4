// Runs the polling loop and says when the lab does not answer.

import { h, say } from "./dom.js";
import { start } from "./live.js";

export function mount({ element }) {
  const line = h("p", { class: "lab-trouble", role: "status", "aria-live": "polite", hidden: true });
  element.append(line);
  start((message) => {
    say(line, message);
    line.hidden = !message;
  });
}
