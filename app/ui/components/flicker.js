// While the button or key B is held, the stage shows one whole picture at a time: before first, then in
// turns. With reduced motion it shows before until let go.

import { isShown } from "./dom.js";

const TURN_MS = 600;
const LETTING_GO = ["pointerup", "pointerleave", "pointercancel", "blur", "keyup"];

function isTyping(target) {
  if (target.matches("input[type=range]")) return false;
  return target.isContentEditable || target.matches("input, textarea, select");
}

export function holdToFlicker(stage, button, isCalm) {
  let timer = null;

  function begin() {
    if (timer) return;
    stage.dataset.alone = "before";
    timer = setInterval(() => {
      if (!isCalm()) stage.dataset.alone = stage.dataset.alone === "before" ? "after" : "before";
    }, TURN_MS);
  }

  function end() {
    clearInterval(timer);
    timer = null;
    delete stage.dataset.alone;
  }

  function onKey(event) {
    const isPlainB = event.key.toLowerCase() === "b" && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.type === "keydown" && isPlainB && isShown(stage) && !isTyping(event.target)) begin();
    if (event.type === "keyup" && isPlainB) end();
    if (!stage.isConnected) forget();
  }

  // The page may build the component anew; listeners of the old one must not stay behind.
  function forget() {
    end();
    document.removeEventListener("keydown", onKey);
    document.removeEventListener("keyup", onKey);
    window.removeEventListener("blur", end);
  }

  button.addEventListener("pointerdown", begin);
  for (const name of LETTING_GO) button.addEventListener(name, end);
  button.addEventListener("keydown", (event) => {
    if (event.key === " " || event.key === "Enter") begin();
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", onKey);
  window.addEventListener("blur", end);
}
