// How row F1, precision, recall and the number of pairs change with the threshold.

import { describeStore } from "../api.js";
import { count, counted, element, figure, svg } from "../dom.js";
import { awaited, choice, fault } from "../plot.js";
import { Plot } from "./curve/plot.js";

const SERIES = [
  { key: "row_f1", name: "Row F1", hue: "hue-0", dash: null },
  { key: "precision", name: "Precision", hue: "hue-1", dash: "7 4" },
  { key: "recall", name: "Recall", hue: "hue-2", dash: "2 4" },
];
const NUM_LINES = 40;

export const keys = [
  [["←", "→"], "another threshold, while the slider has the focus"],
  [["Page up", "Page down"], "in larger steps"],
];

export async function show(main, parameters) {
  const leaving = new AbortController();
  const place = element("div", {});
  main.replaceChildren(place);
  const update = async (given) => {
    const store = await describeStore();
    const spaces = store.threshold?.spaces.filter((space) => space.score_threshold != null) ?? [];
    const space = given.get("space") ?? spaces[0]?.name ?? null;
    const curve = await awaited(
      place, "All pairs are being compared …", "/curve", { space }, leaving.signal);
    if (curve) main.replaceChildren(...content(curve, spaces));
  };
  update(parameters).catch((error) => main.replaceChildren(fault(error)));
  return {
    leave: () => leaving.abort(),
    update: (given) => update(given).catch((error) => main.replaceChildren(fault(error))),
  };
}

function content(curve, spaces) {
  const series = SERIES.filter(({ key }) => curve[key]);
  const readout = element("dl", { class: "curve-readout", "aria-live": "off" });
  const slider = element("input", {
    type: "range", min: 0, max: curve.thresholds.length - 1, step: 1, id: "curve-threshold",
    oninput: () => look(Number(slider.value)),
  });
  const plot = new Plot(curve, series, (place) => look(place));
  const look = (place) => {
    slider.value = place;
    slider.setAttribute("aria-valuetext", words(curve, series, place));
    readout.replaceChildren(...figures(curve, series, place));
    plot.point(place);
  };
  look(curve.thresholds.indexOf(curve.chosen ?? curve.best ?? curve.thresholds[0]));
  return [
    head(curve, spaces),
    readout,
    plot.node,
    element("div", { class: "curve-slider" },
      element("label", { for: "curve-threshold", class: "small muted" },
        "Look at another threshold; the one in use does not change"),
      slider),
    element("details", {}, element("summary", {}, "As a table"), table(curve, series)),
  ];
}

function head(curve, spaces) {
  const over = curve.num_rows == null
    ? `Without labels only pairs can be counted. ${curve.warnings.join(". ")}`
    : `Means over ${counted(curve.num_rows, "labelled row")} that no head has seen, the item itself `
      + "counted as a match; pairs are those of the whole store.";
  const pick = spaces.length < 2 ? null : choice(
    "The threshold of space", spaces.map(({ name }) => [name, name]), curve.space,
    (space) => { location.hash = `#/curve?${new URLSearchParams({ space })}`; });
  return element("div", { class: "curve-head" },
    element("h2", {}, "What the threshold gives"),
    element("p", { class: "small muted" }, over),
    pick && element("div", { class: "curve-pick" }, pick));
}

function figures(curve, series, place) {
  const threshold = curve.thresholds[place];
  const mark = threshold === curve.chosen ? "Threshold, in use"
    : threshold === curve.best ? "Threshold, best row F1" : "Threshold";
  const one = (name, value, key) =>
    element("div", {}, element("dt", {}, key, name), element("dd", {}, value));
  return [
    one(mark, figure(threshold)),
    one("Distance", figure(1 - threshold)),
    ...series.map((each) => one(each.name, figure(curve[each.key][place]), sample(each))),
    one("Pairs", count(curve.num_pairs[place])),
    one("Items with a match", count(curve.num_items_with_match[place])),
  ];
}

function words(curve, series, place) {
  const values = series.map(({ key, name }) => `${name} ${figure(curve[key][place])}`);
  return [
    `score ${figure(curve.thresholds[place])}`, ...values, counted(curve.num_pairs[place], "pair"),
  ].join(", ");
}

function sample({ hue, dash }) {
  return svg("svg", { class: `curve-key ${hue}`, viewBox: "0 0 22 8", "aria-hidden": "true" },
    svg("line", { class: "line", x1: 0, x2: 22, y1: 4, y2: 4, "stroke-dasharray": dash }));
}

function table(curve, series) {
  const last = curve.thresholds.length - 1;
  const step = Math.max(1, Math.ceil(last / NUM_LINES));
  const shown = new Set([curve.chosen, curve.best].map((each) => curve.thresholds.indexOf(each)));
  for (let place = 0; place <= last; place += step) shown.add(place);
  shown.add(last).delete(-1);
  const lines = [...shown].sort((one, other) => other - one).map((place) => {
    const threshold = curve.thresholds[place];
    const marks = [threshold === curve.chosen && "in use", threshold === curve.best && "best"];
    const mark = marks.filter(Boolean).join(", ");
    return element("tr", {},
      element("th", { scope: "row" }, figure(threshold), mark && ` (${mark})`),
      ...series.map(({ key }) => element("td", {}, figure(curve[key][place]))),
      element("td", {}, count(curve.num_pairs[place])),
      element("td", {}, count(curve.num_items_with_match[place])));
  });
  const names = ["Score ≥", ...series.map(({ name }) => name), "Pairs", "Items with a match"];
  return element("div", { class: "curve-scroll", tabindex: 0, role: "region", "aria-label": "Table" },
    element("table", { class: "curve-table" },
      element("thead", {}, element("tr", {},
        names.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, lines)));
}
