// How row F1, precision, recall and the number of pairs change with the threshold.

import { describeStore } from "../api.js";
import { count, counted, element, figure, svg } from "../dom.js";
import { awaited, choice, fault, ticks } from "../plot.js";

const SERIES = [
  { key: "row_f1", name: "Row F1", hue: "hue-0", dash: null },
  { key: "precision", name: "Precision", hue: "hue-1", dash: "7 4" },
  { key: "recall", name: "Recall", hue: "hue-2", dash: "2 4" },
];
const NUM_LINES = 40;
const EDGES = { left: 44, right: 12, top: 24, bottom: 28 };

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

/** Two charts over one axis of thresholds: the figures, and the number of pairs below them. */
class Plot {
  constructor(curve, series, onPoint) {
    Object.assign(this, { curve, series, place: 0 });
    this.low = curve.thresholds[0];
    this.high = curve.thresholds.at(-1);
    this.node = svg("svg", {
      class: "curve-plot", role: "img", "aria-label": "The figures at each threshold; see the table",
      onpointermove: (event) => this.follow(event, onPoint),
      onpointerdown: (event) => this.follow(event, onPoint),
    });
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  follow(event, onPoint) {
    if (!this.width) return;
    const at = event.clientX - this.node.getBoundingClientRect().left;
    const share = (at - EDGES.left) / (this.width - EDGES.left - EDGES.right);
    onPoint(nearest(this.curve.thresholds, this.low + share * (this.high - this.low)));
  }

  point(place) {
    this.place = place;
    if (!this.width) return;
    const x = this.x(this.curve.thresholds[place]);
    const dots = this.series.map(({ key, hue }) => svg("circle", {
      class: `dot ${hue}`, cx: x, cy: this.y(this.curve[key][place]), r: 4.5 }));
    const pairs = svg("circle", {
      class: "dot hue-5", cx: x, cy: this.rank(this.curve.num_pairs[place]), r: 4.5 });
    this.cursor.replaceChildren(
      svg("line", { class: "cursor", x1: x, x2: x, y1: EDGES.top, y2: this.bottom }), ...dots, pairs);
  }

  draw() {
    this.width = this.node.clientWidth;
    if (!this.width) return;
    const upper = this.series.length ? Math.min(340, Math.max(220, this.width * 0.42)) : 0;
    this.heights = { upper, lower: this.series.length ? 110 : 260 };
    this.top = EDGES.top + (upper ? upper + 34 : 0);
    this.bottom = this.top + this.heights.lower;
    const height = this.bottom + EDGES.bottom;
    this.node.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    this.node.setAttribute("height", height);
    this.cursor = svg("g", {});
    this.node.replaceChildren(
      ...this.axes(), ...this.marks(), this.pairs(),
      ...this.series.map((each) => this.line(each)), ...this.names(), ...this.tags(), this.cursor);
    this.point(this.place);
  }

  x(threshold) {
    const share = (threshold - this.low) / (this.high - this.low || 1);
    return EDGES.left + share * (this.width - EDGES.left - EDGES.right);
  }

  y(value) {
    return EDGES.top + (1 - value) * this.heights.upper;
  }

  rank(pairs) {
    const most = Math.log10(1 + Math.max(...this.curve.num_pairs));
    return this.bottom - (Math.log10(1 + pairs) / (most || 1)) * this.heights.lower;
  }

  axes() {
    const right = this.width - EDGES.right;
    const across = (y, text) => [
      svg("line", { class: "grid", x1: EDGES.left, x2: right, y1: y, y2: y }),
      svg("text", { x: EDGES.left - 8, y: y + 4, "text-anchor": "end" }, text),
    ];
    const values = this.series.length ? [0, 0.25, 0.5, 0.75, 1] : [];
    const most = Math.max(...this.curve.num_pairs);
    const powers = [];
    for (let pairs = 10; pairs <= most; pairs *= 10) powers.push(pairs);
    const step = Math.max(1, Math.ceil(powers.length / 4));
    const wanted = Math.max(4, Math.floor(this.width / 80));
    return [
      ...values.flatMap((value) => across(this.y(value), value.toFixed(2))),
      ...across(this.bottom, "0"),
      ...powers.filter((_, place) => place % step === 0)
        .flatMap((pairs) => across(this.rank(pairs), short(pairs))),
      svg("text", { x: EDGES.left, y: this.top - 10 }, "Number of pairs"),
      ...ticks(this.low, this.high, wanted).map((tick) => svg("text", {
        x: this.x(tick), y: this.bottom + 18, "text-anchor": "middle" }, String(tick).replace("-", "−"))),
    ];
  }

  path(value) {
    const points = this.curve.thresholds.map((threshold, place) =>
      `${this.x(threshold).toFixed(1)},${value(place).toFixed(1)}`);
    return `M${points.join("L")}`;
  }

  line({ key, hue, dash }) {
    const d = this.path((place) => this.y(this.curve[key][place]));
    return svg("path", { class: `line ${hue}`, d, "stroke-dasharray": dash });
  }

  pairs() {
    const d = this.path((place) => this.rank(this.curve.num_pairs[place]));
    return svg("g", { class: "hue-5" },
      svg("path", { class: "area", d: `${d}L${this.x(this.high)},${this.bottom}L${EDGES.left},${this.bottom}Z` }),
      svg("path", { class: "line", d }));
  }

  /** Names beside the lines' left ends, pushed apart. */
  names() {
    const ends = this.series
      .map((each) => ({ ...each, at: this.y(this.curve[each.key][0]) - 6 }))
      .sort((one, other) => one.at - other.at);
    for (let place = 1; place < ends.length; place += 1) {
      ends[place].at = Math.max(ends[place].at, ends[place - 1].at + 16);
    }
    return ends.map(({ name, hue, at }) =>
      svg("text", { class: `name ${hue}`, x: EDGES.left + 6, y: at }, name));
  }

  marks() {
    return this.special().map(({ kind, at }) =>
      svg("line", { class: kind, x1: at, x2: at, y1: EDGES.top - 4, y2: this.bottom }));
  }

  /** What the upright lines are, each on its own side of the two. */
  tags() {
    const all = this.special().sort((one, other) => one.at - other.at);
    return all.map(({ text, at }, place) => {
      const wide = 7.5 * text.length;
      const isFirst = all.length > 1 && place === 0;
      const isLeft = isFirst ? at > wide : at > this.width - wide;
      return svg("text", {
        class: "tag", x: at + (isLeft ? -5 : 5), y: EDGES.top - 10, "text-anchor": isLeft ? "end" : "start",
      }, text);
    });
  }

  special() {
    const { chosen, best } = this.curve;
    if (chosen != null && chosen === best) {
      return [{ kind: "chosen", at: this.x(chosen), text: `in use and best ${figure(chosen)}` }];
    }
    return [
      chosen != null && { kind: "chosen", at: this.x(chosen), text: `in use ${figure(chosen)}` },
      best != null && { kind: "best", at: this.x(best), text: `best ${figure(best)}` },
    ].filter(Boolean);
  }
}

function nearest(rising, value) {
  let low = 0;
  let high = rising.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rising[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - rising[low - 1] < rising[low] - value ? low - 1 : low;
}

function short(number) {
  if (number >= 1e6) return `${number / 1e6} M`;
  return number >= 1000 ? `${number / 1000} k` : String(number);
}
