// Says when what a tab shows has changed in the store. Draws nothing.
// Asks the topic of props.topic with {ask: props.value, seen}; a new digest triggers "stale".

import { subscribe } from "./live.js";

export function mount({ trigger, props }) {
  let seen = null;
  subscribe(props.topic, {
    cursor: () => ({ ask: props.value ?? null, seen }),
    show: (digest) => {
      seen = digest;
      trigger("stale");
    },
  });
}
