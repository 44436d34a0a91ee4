// Figures for plotly.js from a chart's description and the runs' series: no page, no polling.

import { placeOf } from "./series.js";

// Okabe and Ito's colours, which people tell apart whatever their colour vision; dark pages need lighter ones.
const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const DARK = ["#5AB4E5", "#F0894A", "#3CC79A", "#E3A1C6", "#F2C14E", "#9AD3F5"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

// The horizontal axes to choose from.
export const AXES = {
  step: "steps", minutes: "minutes of training", pictures: "pictures drawn", evaluations: "network evaluations",
};

const isDark = () => document.body.classList.contains("dark");
const colour = (i) => (isDark() ? DARK : LIGHT)[i % LIGHT.length];
const dash = (i) => DASHES[i % DASHES.length];

// A chart "by_key" becomes one chart for each quality that any run measured.
export function expand(chart, runs) {
  if (chart.kind !== "by_key") return [chart];
  const keys = new Set(runs.flatMap((run) => run.evaluations.flatMap((one) => Object.keys(one.quality))));
  return [...keys].map((key) => ({
    ...chart,
    key: `${chart.key}-${key}`,
    title: `${chart.title}: ${key.replaceAll("_", " ")}`,
    quality: key,
  }));
}

export function figure(chart, runs, axis, style) {
  const traces = runs.flatMap((run, i) => tracesOf(chart, run, axis, runs.length > 1 ? i : null));
  return { traces, layout: layoutOf(chart, axis, style, traces) };
}

function tracesOf(chart, run, axis, place) {
  if (chart.kind === "score") return examinations(run, axis, place, (one) => one.score, "score");
  if (chart.kind === "by_key") return examinations(run, axis, place, (one) => one.quality[chart.quality], chart.quality);
  if (chart.kind === "by_category") return categories(run, axis, place);
  return stepLines(chart, run, axis, place);
}

function stepLines(chart, run, axis, place) {
  if (!run.steps.step?.length) return [];
  const x = run.steps[axis];
  const chosen = place !== null && chart.overlay.length ? chart.overlay.map((column) => [column, column]) : chart.lines;
  const isStack = chart.kind === "stack" && place === null;
  const lines = chosen.map(([column, name], i) => ({
    ...look(run, place, i, name),
    x,
    y: run.steps[column],
    ...(isStack ? { stackgroup: "time", line: { width: 0.5, color: colour(i) } } : {}),
  }));
  return chart.spread && place === null ? [...band(run, chart, x), ...lines] : lines;
}

function look(run, place, i, name) {
  return {
    type: "scatter",
    mode: "lines",
    name: escaped(place === null ? name : run.name),
    hovertemplate: `%{y:.4g}<extra>${escaped(place === null ? name : run.name)}</extra>`,
    line: { width: 2, color: colour(place ?? i), dash: place === null ? dash(0) : dash(i || Math.floor(place / 6)) },
  };
}

// plotly.js reads a little markup in names; a run's name is data.
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function band(run, chart, x) {
  const mean = run.steps[chart.lines[0][0]];
  const spread = run.steps[chart.spread];
  const edge = (sign) => mean.map((value, i) => (value === null || spread[i] === null ? null : value + sign * spread[i]));
  const hidden = { x, type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
  return [
    { ...hidden, y: edge(-1) },
    { ...hidden, y: edge(1), fill: "tonexty", fillcolor: `${colour(0)}33` },
  ];
}

function examinations(run, axis, place, valueOf, name) {
  const policies = [...new Set(run.evaluations.map((one) => one.policy))];
  return policies.map((policy, i) => {
    const rows = run.evaluations.filter((one) => one.policy === policy);
    return points(run, rows, axis, valueOf, look(run, place, i, policies.length > 1 ? policy : name));
  });
}

function categories(run, axis, place) {
  if (place !== null) return [];
  const last = run.evaluations.at(-1)?.policy;
  const rows = run.evaluations.filter((one) => one.policy === last);
  const names = [...new Set(rows.flatMap((one) => Object.keys(one.categories)))];
  return names.map((name, i) => points(run, rows, axis, (one) => one.categories[name], look(run, place, i, name)));
}

function points(run, rows, axis, valueOf, style) {
  const x = rows.map((one) => placeOf(run, one.step, axis));
  return { ...style, mode: "lines+markers", marker: { size: 6 }, x, y: rows.map((one) => valueOf(one) ?? null) };
}

function layoutOf(chart, axis, style, traces) {
  const ink = style.getPropertyValue("--body-text-color-subdued").trim() || "#64748b";
  const lines = style.getPropertyValue("--border-color-primary").trim() || "#e2e8f0";
  const named = traces.filter((trace) => trace.showlegend !== false);
  const line = { gridcolor: lines, linecolor: lines, zerolinecolor: lines, tickfont: { size: 11 }, automargin: true };
  const hasLimits = chart.low !== null && chart.high !== null;
  return {
    uirevision: `${chart.key} ${axis}`,
    height: 230 + (named.length > 1 ? 24 * Math.ceil(named.length / 3) : 0),
    margin: { l: 44, r: 10, t: 8, b: 34 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: ink },
    hovermode: "x unified",
    hoverlabel: { bgcolor: style.getPropertyValue("--background-fill-primary").trim() || "#fff", font: { size: 12 } },
    showlegend: named.length > 1,
    legend: { orientation: "h", x: 0, y: -0.24, yanchor: "top", font: { size: 11 }, traceorder: "normal" },
    xaxis: { ...line, title: { text: AXES[axis], font: { size: 11 } }, showgrid: false },
    yaxis: { ...line, ...(hasLimits ? { range: [chart.low - 0.02, chart.high + 0.02] } : { rangemode: "tozero" }) },
  };
}
