// Which key does what on the Label page, remembered in the browser, and the list in which a person changes it.

import { h, say } from "./dom.js";

const STORED = "lab-label-keys";
const PICTURES = "1234567890qwertyuiopasdfghjkl";
const FIXED = {
  send: ["Send", "Enter"],
  skip: ["Skip", "Backspace"],
  undo: ["Undo", "Ctrl+z"],
  back: ["Previous group", "ArrowLeft"],
  forward: ["Next group", "ArrowRight"],
  enlarge: ["Enlarge the picture pointed at", "z"],
  both: ["Both are good", "b"],
  neither: ["Neither is good", "n"],
  change: ["Next way to judge", "m"],
};
const ACTIONS = { ...FIXED, ...Object.fromEntries([...PICTURES].map((key, member) => [`picture${member}`, [`Picture ${member + 1}`, key]])) };
const SHOWN = { ArrowLeft: "\u2190", ArrowRight: "\u2192", ArrowUp: "\u2191", ArrowDown: "\u2193", " ": "Space" };
const RESERVED = ["Tab", "Escape", "Shift", "Control", "Alt", "Meta", "AltGraph", "CapsLock", "Dead", "Unidentified", "Process"];

// A key as it is stored: "Ctrl+z", "Enter", "q".
export function keyOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${key}`;
}

export class Keymap {
  constructor(onChange) {
    this.onChange = onChange;
    this.keys = Object.fromEntries(Object.entries(ACTIONS).map(([action, [, key]]) => [action, key]));
    this.awaiting = null; // the action that gets the next key
    const own = Object.entries(remembered()).filter(([action, key]) => action in ACTIONS && typeof key === "string" && key);
    for (const [, key] of own) this.free(key); // an action that came later gives way to what a person chose before
    for (const [action, key] of own) this.keys[action] = key;
    this.answer = h("p", { class: "lab-answer", role: "status" });
    this.list = h("dl", { class: "lab-keys" });
    const reset = h("button", { type: "button", class: "lab-button small", onclick: () => this.reset() }, "Back to the usual keys");
    this.box = h("details", { class: "lab-key-list" }, h("summary", {}, "Keys"),
      h("p", { class: "lab-note" }, "Press one of these buttons, then the key that it shall have. This browser remembers it."),
      this.list, this.answer, reset);
    this.box.addEventListener("toggle", () => this.await(null));
    this.draw();
  }

  free(key) {
    for (const action of Object.keys(this.keys)) if (this.keys[action] === key) this.keys[action] = "";
  }

  // What a key does: {action} or {member}, or null.
  meaning(key) {
    const action = Object.keys(this.keys).find((one) => this.keys[one] === key);
    if (action === undefined) return null;
    return action.startsWith("picture") ? { action: "press", member: Number(action.slice(7)) } : { action };
  }

  shown(action) {
    const key = this.keys[action] ?? "";
    return key.replace(/[^+]+$/, (last) => SHOWN[last] ?? (last.length === 1 && key !== last ? last.toUpperCase() : last));
  }

  // Takes a key press while one is awaited; whether it did.
  take(event) {
    if (!this.awaiting) return false;
    if (/^(input|textarea|select)$/i.test(event.target.tagName)) {
      this.await(null); // what is typed into a field is meant for the field
      return false;
    }
    const key = keyOf(event);
    if (["Shift", "Control", "Alt", "Meta", "AltGraph"].includes(event.key)) return true;
    event.preventDefault();
    if (key === "Escape") this.await(null);
    else if (RESERVED.includes(event.key)) say(this.answer, `${event.key} is kept for moving about. Press another key.`);
    else this.assign(this.awaiting, key);
    return true;
  }

  assign(action, key) {
    const other = Object.keys(this.keys).find((one) => one !== action && this.keys[one] === key);
    if (other) {
      say(this.answer, `${this.shown(other)} is the key of \u201c${ACTIONS[other][0]}\u201d already. Press another, or give that one another key first.`);
      return;
    }
    this.keys[action] = key;
    localStorage.setItem(STORED, JSON.stringify(this.keys));
    this.await(null);
    this.onChange();
  }

  reset() {
    localStorage.removeItem(STORED);
    for (const [action, [, key]] of Object.entries(ACTIONS)) this.keys[action] = key;
    this.await(null);
    this.onChange();
  }

  await(action) {
    this.awaiting = action;
    say(this.answer, action ? `Press the key for \u201c${ACTIONS[action][0]}\u201d. Escape keeps the one it has.` : "");
    this.draw();
  }

  draw() {
    this.list.replaceChildren(...Object.entries(ACTIONS).map(([action, [name]]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, h("button", {
        type: "button", class: "lab-button small", "data-key": action, "aria-pressed": String(this.awaiting === action),
        "aria-label": `${name}: ${this.shown(action)}`,
        onclick: (event) => {
          event.currentTarget.blur();
          this.await(action);
        },
      }, this.awaiting === action ? "\u2026" : this.shown(action))))));
  }
}

function remembered() {
  try {
    const keys = JSON.parse(localStorage.getItem(STORED) ?? "{}");
    return keys && typeof keys === "object" ? keys : {};
  } catch {
    return {}; // not ours, or cut short: the usual keys will do
  }
}
