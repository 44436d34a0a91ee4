// Which two pictures to show next, so that few pairs give an order: each picture is sorted into those before it.

const isTie = (verdict) => verdict === "both" || verdict === "neither";

// The next pair [left, right] after these verdicts ("first" is the left one), or null once the order is known.
// Sides change from pair to pair, so that a habit of the hand favours no picture.
export function nextPair(size, verdicts) {
  const tiers = [[0]];
  let asked = 0;
  for (let member = 1; member < size; member += 1) {
    let low = 0;
    let high = tiers.length;
    let tied = null;
    while (low < high && !tied) {
      const middle = Math.floor((low + high) / 2);
      const isLeft = asked % 2 === 0;
      const rival = tiers[middle][0];
      if (asked === verdicts.length) return isLeft ? [member, rival] : [rival, member];
      const verdict = verdicts[asked];
      asked += 1;
      if (isTie(verdict)) tied = tiers[middle];
      else if ((verdict === "first") === isLeft) high = middle;
      else low = middle + 1;
    }
    if (tied) tied.push(member);
    else tiers.splice(low, 0, [member]);
  }
  return null;
}

// The verdicts with the pairs they are of, as a label has them.
export const judgedPairs = (size, verdicts) =>
  verdicts.map((verdict, index) => {
    const [first, second] = nextPair(size, verdicts.slice(0, index));
    return { first, second, verdict };
  });

// How many pairs an order of so many pictures needs at most.
export const mostPairs = (size) =>
  Array.from({ length: Math.max(0, size - 1) }, (_, index) => Math.ceil(Math.log2(index + 2))).reduce((sum, one) => sum + one, 0);
