// The page's one polling loop. Panels subscribe to topics; see app/ui/live.py.

import { nextTask } from "./dom.js";

const LIVE_MS = 1000;
const IDLE_MS = 2500;
const TROUBLE_MS = 4000;
const POLL_URL = new URL("poll", import.meta.url);

const panels = new Map(); // topic -> {cursor, show}
const page = { run: null, live: null };
let chosen = chosenInAddress();
let token = null;
let numRefreshes = 0;
let isStarted = false;
let inFlight = false;
let askAgain = false;
let timer = null;
let onTrouble = () => {};
let tellFirstShown;

// Resolves when the page has shown the lab's first answer: what can wait lets that go first.
export const firstShown = new Promise((resolve) => {
  tellFirstShown = resolve;
});

function chosenInAddress() {
  const run = Number.parseInt(new URLSearchParams(location.search).get("run") ?? "", 10);
  return Number.isNaN(run) ? null : run;
}

// A panel of a topic: cursor() says what it has, show(update, page) gets what is new.
export function subscribe(topic, panel) {
  panels.set(topic, panel);
  refresh();
}

// Asks at once and for everything new since the cursors, also when the store did not change.
export function refresh() {
  token = null;
  numRefreshes += 1;
  ask();
}

// Shows one run, or (null) follows the live one; the address remembers it.
export function show(run) {
  chosen = run;
  const address = new URL(location.href);
  if (run === null) address.searchParams.delete("run");
  else address.searchParams.set("run", run);
  history.replaceState(null, "", address);
  refresh();
}

export const chosenRun = () => chosen;

export function start(trouble) {
  isStarted = true;
  onTrouble = trouble;
  document.addEventListener("visibilitychange", ask);
  window.addEventListener("lab:follow", () => show(null));
  window.addEventListener("lab:show", (event) => show(event.detail));
  window.addEventListener("lab:refresh", refresh);
  ask();
}

async function ask() {
  clearTimeout(timer);
  if (!isStarted || document.visibilityState === "hidden") return;
  if (inFlight) {
    askAgain = true;
    return;
  }
  inFlight = true;
  askAgain = false;
  const pause = await once().catch(() => {
    token = null;
    onTrouble("The lab does not answer. It may have been closed; this page keeps trying.");
    return TROUBLE_MS;
  });
  tellFirstShown();
  inFlight = false;
  timer = setTimeout(ask, askAgain ? 0 : pause);
}

async function once() {
  const refreshesBefore = numRefreshes;
  const topics = Object.fromEntries([...panels].map(([topic, panel]) => [topic, panel.cursor()]));
  const answer = await poll({ token, run: chosen, topics });
  onTrouble(answer.error ?? "");
  if (answer.token === undefined) return TROUBLE_MS;
  // A refresh() that came while this call was under way wants everything asked again.
  if (numRefreshes === refreshesBefore) token = answer.token;
  if (answer.topics) {
    page.run = answer.run;
    page.live = answer.live;
    for (const [topic, update] of Object.entries(answer.topics)) {
      panels.get(topic)?.show(update, page);
      await nextTask(); // what came first is seen before the next panel draws
    }
  }
  return page.live === null ? IDLE_MS : LIVE_MS;
}

async function poll(asked) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(POLL_URL, { method: "POST", headers, body: JSON.stringify(asked) });
  if (!answer.ok) throw new Error(`the lab answered ${answer.status}`);
  return answer.json();
}
