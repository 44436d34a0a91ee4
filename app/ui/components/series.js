// The rows of a run as the browser keeps them: merged as they arrive, thinned when there are many.

const MAX_POINTS = 500;

export function mergeRun(known, news) {
  const isFresh = !known || news.reset;
  const steps = isFresh ? news.steps : append(known.steps, news.steps);
  const evaluations = isFresh ? news.evaluations : mergeEvaluations(known.evaluations, news.evaluations);
  return { id: news.id, name: news.name, steps: withSums(thinned(steps)), evaluations };
}

// What the server must know to send only what is new.
export function seenOf(run) {
  const { step = [], step_seconds = [] } = run.steps;
  const last = step.length - 1;
  const examination = run.evaluations.at(-1);
  return {
    step: last < 0 ? -1 : step[last],
    mark: last < 0 ? null : step_seconds[last],
    examined: examination?.step ?? null,
    examination: examination?.id ?? null,
  };
}

function append(old, added) {
  if (!old.step) return added;
  if (!added.step) return old;
  return Object.fromEntries(Object.keys(added).map((name) => [name, [...old[name], ...added[name]]]));
}

// A resumed run examines a step again: the newest examination of a step counts.
function mergeEvaluations(old, added) {
  const byStep = new Map([...old, ...added].map((one) => [`${one.step} ${one.policy}`, one]));
  return [...byStep.values()].sort((a, b) => a.step - b.step || a.id - b.id);
}

function thinned(columns) {
  const count = columns.step?.length ?? 0;
  if (count <= MAX_POINTS) return columns;
  const kept = new Set(Array.from({ length: MAX_POINTS / 2 }, (_, i) => Math.round((i * (count - 1)) / (MAX_POINTS / 2 - 1))));
  return Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values.filter((_, i) => kept.has(i))]));
}

// What training had cost up to each row: the columns that may be the horizontal axis.
function withSums(columns) {
  if (!columns.step) return columns;
  const seconds = sums(columns, (i) => columns.step_seconds[i]);
  return {
    ...columns,
    minutes: seconds.map((one) => one / 60),
    pictures: sums(columns, (i) => columns.num_pictures[i]),
    evaluations: sums(columns, (i) => columns.network_evaluations[i]),
  };
}

// A row that stands for several steps counts for all of them.
function sums(columns, costOf) {
  let sum = 0;
  let before = columns.step[0] - 1;
  return columns.step.map((step, i) => {
    sum += (step - before) * (costOf(i) ?? 0);
    before = step;
    return sum;
  });
}

// Where on an axis an examination took place: at the last step before it.
export function placeOf(run, step, axis) {
  if (axis === "step") return step;
  const { step: steps = [] } = run.steps;
  const i = steps.findLastIndex((one) => one < step);
  return i < 0 ? 0 : run.steps[axis][i];
}
