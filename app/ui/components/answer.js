// The line that answers a person who judges: the words, what was left out since, and whether what they press counts.

import { h, say } from "./dom.js";

const REST_MS = 700; // a person needs about half a second to see that the group is another one, and to stop

export class Answer {
  constructor(onRest) {
    this.onRest = onRest; // told whether hands are to rest
    this.box = h("p", { class: "lab-answer", role: "status" });
    this.words = "";
    this.leftOut = 0; // presses since the words
    this.rest = null; // the timer while presses do not count
  }

  // New words; null leaves those that stand there.
  announce(words) {
    if (words !== null) Object.assign(this, { words, leftOut: 0 });
    this.tell();
  }

  leaveOut(count) {
    this.leftOut += count;
    this.tell();
  }

  get isResting() {
    return this.rest !== null;
  }

  // Hands that are busy with a group that went come to rest before a press counts for the one that came.
  beginRest() {
    this.endRest();
    this.rest = setTimeout(() => this.endRest(), REST_MS);
    this.tell();
  }

  endRest() {
    clearTimeout(this.rest);
    this.rest = null;
    this.tell();
  }

  tell() {
    const leftOut = this.leftOut ? `What you pressed meanwhile (${this.leftOut}) was left out.` : "";
    const rest = this.isResting ? "What you press counts in a moment." : "";
    say(this.box, [this.words, leftOut, rest].filter(Boolean).join(" "));
    this.onRest(this.isResting);
  }
}
