// Live curves on plotly.js. The Python side and its payload are described in app/ui/charts.py.

import { h, isShown, nextTask } from "./dom.js";
import { subscribe, refresh } from "./live.js";
import { mergeRun, seenOf } from "./series.js";
import { AXES, figure, expand } from "./figures.js";

let plotly = null;

// plotly.js, or null where it did not load; the next call tries again then.
function loadPlotly() {
  plotly ??= new Promise((resolve) => {
    const script = h("script", { src: "/lab/plotly.min.js" });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => {
      plotly = null;
      resolve(null);
    });
    document.head.append(script);
  });
  return plotly;
}

const CONFIG = {
  displaylogo: false,
  responsive: true,
  displayModeBar: "hover",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};

export function mount({ element, props, watch }) {
  const view = new Curves(element, props.charts);
  const takeValue = () => view.choose(Array.isArray(props.value) ? props.value : null);
  takeValue();
  watch("value", takeValue);
  subscribe(props.topic, { cursor: () => view.cursor(), show: (update) => view.take(update) });
}

class Curves {
  constructor(element, charts) {
    this.charts = charts;
    this.runs = new Map(); // id -> series of one run
    this.chosen = null;
    this.axis = "step";
    this.isStale = false; // something is new that is not drawn yet
    this.isDrawing = false;
    this.cells = new Map(); // chart key -> {box, plot, axis drawn, zooms by horizontal axis}
    this.empty = h("p", { class: "lab-empty" }, "Curves appear with the first step.");
    this.grid = h("div", { class: "lab-charts" });
    element.classList.add("lab-curves");
    element.append(this.axisChoice(), this.empty, this.grid);
    this.watchSurroundings(element);
  }

  axisChoice() {
    const name = `axis-${crypto.randomUUID()}`;
    const option = (axis, label) =>
      h("label", {}, h("input", {
        type: "radio", name, value: axis, checked: axis === this.axis, onchange: () => this.setAxis(axis),
      }), label);
    return h("div", { class: "lab-axis", role: "radiogroup", "aria-label": "Horizontal axis" },
      ...Object.entries(AXES).map(([axis, label]) => option(axis, label)));
  }

  // Redraws when the panel comes into view (nothing is drawn while hidden) and when light turns dark.
  watchSurroundings(element) {
    new IntersectionObserver(() => this.draw()).observe(element);
    new MutationObserver(() => this.draw()).observe(document.body, { attributeFilter: ["class"] });
  }

  setAxis(axis) {
    for (const { plot, zooms, axis: drawn } of this.cells.values()) if (plot.layout) zooms[drawn] = zoomOf(plot.layout);
    this.axis = axis;
    this.draw();
  }

  choose(ids) {
    this.chosen = ids;
    refresh();
  }

  cursor() {
    const seen = Object.fromEntries([...this.runs].map(([id, run]) => [id, seenOf(run)]));
    return { runs: this.chosen, seen };
  }

  take(update) {
    const before = this.runs;
    this.runs = new Map(update.runs.map((news) => [news.id, mergeRun(before.get(news.id), news)]));
    this.draw();
  }

  async draw() {
    this.isStale = true;
    if (this.isDrawing) return;
    this.isDrawing = true;
    try {
      while (this.isStale) {
        this.isStale = false;
        await this.drawAll();
      }
    } finally {
      this.isDrawing = false;
    }
  }

  async drawAll() {
    const runs = [...this.runs.values()];
    const hasRows = runs.some((run) => run.steps.step?.length || run.evaluations.length);
    this.empty.hidden = hasRows;
    this.grid.hidden = !hasRows;
    if (!hasRows || !isShown(this.grid)) return;
    const Plotly = await loadPlotly();
    if (!Plotly) return;
    const wanted = this.charts.flatMap((chart) => expand(chart, runs));
    for (const chart of wanted) {
      this.drawOne(Plotly, chart, runs);
      await nextTask();
    }
    for (const [key, cell] of this.cells) if (!wanted.some((chart) => chart.key === key)) cell.box.hidden = true;
  }

  drawOne(Plotly, chart, runs) {
    const cell = this.cell(chart);
    const { box, plot, zooms } = cell;
    cell.axis = this.axis;
    const { traces, layout } = figure(chart, runs, this.axis, getComputedStyle(this.grid));
    box.hidden = traces.length === 0;
    for (const [name, zoom] of Object.entries(zooms[this.axis] ?? {})) Object.assign(layout[name], zoom);
    if (traces.length) Plotly.react(plot, traces, layout, CONFIG);
  }

  cell(chart) {
    if (!this.cells.has(chart.key)) {
      const plot = h("div", { class: "lab-plot", role: "img", "aria-label": `${chart.title}. ${chart.help}` });
      const box = h("figure", { class: "lab-chart", "data-chart": chart.key },
        h("figcaption", {}, h("strong", {}, chart.title), h("small", {}, chart.help)), plot);
      this.cells.set(chart.key, { box, plot, axis: this.axis, zooms: {} });
      this.grid.append(box);
    }
    return this.cells.get(chart.key);
  }
}

// The ranges of a plot that are a person's, by name of the axis. Plotly itself forgets them when the axis means another thing.
function zoomOf(layout) {
  const chosen = ["xaxis", "yaxis"].filter((name) => layout[name].range && layout[name].autorange === false);
  return Object.fromEntries(chosen.map((name) => [name, { range: [...layout[name].range], autorange: false }]));
}
