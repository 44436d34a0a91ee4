// The alarms of the run, newest first: what rose, what fell, and the pictures that show it. Older ones are folded away.

import { h } from "./dom.js";
import { captionedTile, examinedPage } from "./large.js";
import { subscribe } from "./live.js";

let card = null;

export function mount({ element }) {
  let seen = { run: null, newest: null };
  card = h("section", { class: "lab-card lab-alarms", "aria-label": "Alarms" });
  element.append(card);
  subscribe("alarms", {
    cursor: () => seen,
    show: (update) => {
      seen = { run: update.run, newest: update.newest };
      card.replaceChildren(...update.alarms.map((alarm) => told(alarm, alarm.step === update.alarms[0].step)));
    },
  });
}

// Unfolds the newest alarm and goes to it.
export function leadToAlarm() {
  const newest = card?.querySelector("details");
  if (!newest) return;
  newest.open = true;
  newest.scrollIntoView();
  newest.querySelector("summary").focus({ preventScroll: true });
}

function told(alarm, isOpen) {
  const pages = alarm.samples.map(examinedPage);
  const fall = (sample) => h("span", { class: "lab-fall", dir: "auto" }, sample.details);
  const tiles = alarm.samples.map((sample, i) => captionedTile(pages, i, fall(sample)));
  return h("details", { open: isOpen },
    h("summary", {}, h("strong", {}, `Alarm at step ${alarm.step}`)),
    h("p", { dir: "auto" }, alarm.message),
    h("div", { class: "lab-previews" }, tiles));
}
