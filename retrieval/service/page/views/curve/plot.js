// The charts of the curve: lines over thresholds, what is looked at, and what the lines are called.

import { figure, svg } from "../../dom.js";
import { ticks } from "../../plot.js";

const EDGES = { left: 44, right: 12, names: 76, top: 24, bottom: 28 };
const NAME_HEIGHT = 16;

/** Two charts over one axis of thresholds: the figures, and the number of pairs below them. */
export class Plot {
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
    const share = (at - EDGES.left) / (this.right - EDGES.left);
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
    this.cursor.replaceChildren(...this.upright("cursor", x), ...dots, pairs);
  }

  draw() {
    this.width = this.node.clientWidth;
    if (!this.width) return;
    this.right = this.width - (this.series.length ? EDGES.names : EDGES.right);
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
    return EDGES.left + share * (this.right - EDGES.left);
  }

  y(value) {
    return EDGES.top + (1 - value) * this.heights.upper;
  }

  rank(pairs) {
    const most = Math.log10(1 + Math.max(...this.curve.num_pairs));
    return this.bottom - (Math.log10(1 + pairs) / (most || 1)) * this.heights.lower;
  }

  axes() {
    const across = (y, text) => [
      svg("line", { class: "grid", x1: EDGES.left, x2: this.right, y1: y, y2: y }),
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

  /** Names beside the lines' right ends, where no line runs, pushed apart. */
  names() {
    const last = this.curve.thresholds.length - 1;
    const ends = this.series
      .map((each) => ({ ...each, at: this.y(this.curve[each.key][last]) + 4 }))
      .sort((one, other) => one.at - other.at);
    let lowest = this.y(0) + 4;
    for (const end of ends.toReversed()) {
      end.at = Math.min(end.at, lowest);
      lowest = end.at - NAME_HEIGHT;
    }
    let highest = 0;
    for (const end of ends) {
      end.at = Math.max(end.at, highest);
      highest = end.at + NAME_HEIGHT;
    }
    return ends.map(({ name, hue, at }) => svg("text", { class: `name ${hue}`, x: this.right + 8, y: at }, name));
  }

  marks() {
    return this.special().flatMap(({ kind, at }) => this.upright(kind, at));
  }

  /** A line through both charts, with a gap for what stands between them. */
  upright(kind, at) {
    const part = (y1, y2) => svg("line", { class: kind, x1: at, x2: at, y1, y2 });
    const lower = part(this.top, this.bottom);
    return this.series.length ? [part(EDGES.top - 4, this.y(0)), lower] : [lower];
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
