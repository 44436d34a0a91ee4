// What is being said of one group: the presses so far, and what they mean in each way to judge.

import { judgedPairs, mostPairs, nextPair } from "./pairs.js";

const RANK = "Press them from best to worst. Those left out share the last place.";
export const WAYS = {
  ranking: { name: "Rank", help: RANK, least: "Rank one or more" },
  picks: { name: "Pick the best", help: "Press the best ones. The others are worse.", least: "Pick at least one picture" },
  likes: { name: "Like or dislike", help: "Press once to like, twice to dislike, three times for no opinion.", least: "Like or dislike at least one picture" },
  stars: { name: "Stars", help: "Press once for each star, up to five.", least: "Give stars to at least one picture" },
  pairs: { name: "A against B", help: "Which of the two is better? Ties are fine. The pairs end when the order is known.", least: "Judge at least one pair" },
};

const times = (count, value) => Array.from({ length: count }, () => value);

export class Judgement {
  constructor(kind, size, said = null) {
    this.kind = kind;
    this.size = size;
    this.presses = said?.kind === kind ? this.pressesOf(said.body) : []; // members; of pairs, verdicts
  }

  // The presses that say what was said.
  pressesOf(body) {
    if (this.kind === "ranking") return body.tiers.flat();
    if (this.kind === "picks") return [...body.best];
    if (this.kind === "likes") return [...body.liked, ...body.disliked.flatMap((member) => [member, member])];
    if (this.kind === "stars") return body.stars.flatMap((count, member) => times(count ?? 0, member));
    const verdicts = body.verdicts.map((one) => one.verdict);
    const asked = body.verdicts.every(({ first, second }, index) => {
      const pair = nextPair(this.size, verdicts.slice(0, index));
      return pair && pair[0] === first && pair[1] === second;
    });
    return asked ? verdicts : []; // pairs that were chosen elsewhere cannot be gone on with
  }

  // The two pictures that stand against each other, or null.
  get pair() {
    return this.kind === "pairs" ? nextPair(this.size, this.presses) : null;
  }

  get isComplete() {
    if (this.kind === "ranking") return this.order.length === this.size;
    return this.kind === "pairs" && this.pair === null;
  }

  // Whether it says nothing, which the lab would refuse.
  get isEmpty() {
    if (this.kind === "pairs") return this.presses.length === 0;
    return !this.presses.some((member) => this.words(member));
  }

  // Members in the order they were pressed; a second press takes a member out again.
  get order() {
    const order = [];
    for (const member of this.presses) {
      if (order.includes(member)) order.splice(order.indexOf(member), 1);
      else order.push(member);
    }
    return order;
  }

  count(member) {
    return this.presses.filter((one) => one === member).length;
  }

  press(member) {
    if (member < this.size && this.kind !== "pairs") this.presses.push(member);
  }

  decide(verdict) {
    if (this.pair) this.presses.push(verdict);
  }

  body() {
    const members = Array.from({ length: this.size }, (_, member) => member);
    if (this.kind === "ranking") return { tiers: this.order.map((member) => [member]) };
    if (this.kind === "picks") return { best: this.order };
    if (this.kind === "stars") return { stars: members.map((member) => this.count(member) % 6 || null) };
    if (this.kind === "pairs") return { verdicts: judgedPairs(this.size, this.presses) };
    const having = (mark) => members.filter((member) => this.count(member) % 3 === mark);
    return { liked: having(1), disliked: having(2) };
  }

  // What stands under a picture.
  words(member) {
    if (this.kind === "likes") return ["", "like", "dislike"][this.count(member) % 3];
    if (this.kind === "stars") return "\u2605".repeat(this.count(member) % 6);
    const place = this.order.indexOf(member) + 1;
    if (this.kind === "pairs" || !place) return "";
    return this.kind === "picks" ? "best" : `${place}.`;
  }

  // Where one is within the group, for the ways that need many presses.
  place() {
    return this.pair ? `Pair ${this.presses.length + 1} of at most ${mostPairs(this.size)}` : "";
  }
}
