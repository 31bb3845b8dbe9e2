// The threshold: a slider for each, and what the whole store gives at it.

import { request, untilReady, withParameters } from "../../api.js";
import { count, counted, element, figure, percent, settled, svg } from "../../dom.js";
import { figuresOnCurve } from "./matching.js";
import { thresholdTexts } from "./state.js";

const LABELS = { row_f1: "Row F1", precision: "Precision", recall: "Recall" };

/** The panel; `moved` is called with the scores of all sliders that are not as tuned. */
export function thresholdPanel(matching, moved) {
  const ending = new AbortController();
  const sliders = matching.names.map((name) => slider(name, matching, move));
  const reset = element("button", { class: "link", type: "button", onclick: backToTuned }, "Back to tuned");
  const elsewhere = element("p", { class: "small threshold-elsewhere", role: "status" });
  const figures = figureList();
  let curve = null;

  function move(name, score) {
    moved({ ...matching.moved, [name]: score });
  }

  function backToTuned() {
    moved({});
    sliders[0].focus(); // the button is hidden now
  }

  function update() {
    for (const one of sliders) one.update(curve);
    elsewhere.textContent = matching.isOfSearched ? "" : spokenOf(matching);
    reset.hidden = !matching.isMoved || Object.values(matching.tuned).includes(null);
    const score = matching.scores.combined;
    // A curve has one threshold for all: tuned ones may be of categories, and go with decisions.
    if (curve && matching.isMoved && !matching.isSeparate && score != null) figures.show(figuresOnCurve(curve, score));
    measure();
  }

  const measure = settled(200, async () => {
    if (ending.signal.aborted || Object.values(matching.scores).includes(null)) return;
    const asked = JSON.stringify(matching.scores);
    const threshold = matching.isMoved ? thresholdTexts(matching.scores) : [];
    const path = withParameters("/figures", { threshold });
    try {
      const exact = await untilReady(path, { signal: ending.signal, onProgress: figures.wait });
      if (asked === JSON.stringify(matching.scores)) figures.show(exact);
    } catch (error) {
      if (error.name !== "AbortError") figures.fail(error);
    }
  });

  async function draw() {
    try {
      curve = await untilReady("/curve", { signal: ending.signal, onProgress: figures.wait });
      update();
    } catch (error) {
      if (error.name !== "AbortError") figures.fail(error);
    }
  }

  if (!matching.isSeparate) draw();
  const node = element("section", { class: "panel threshold", "aria-labelledby": "threshold-heading" },
    element("div", { class: "spread" }, element("h2", { id: "threshold-heading" }, "Threshold"), reset),
    elsewhere, sliders.map((one) => one.node), figures.node);
  return { node, update, leave: () => ending.abort() };
}

/** What the threshold is of, where other spaces were searched. */
function spokenOf({ spaces, searched }) {
  return `This threshold and its figures are of ${spaces.join(" and ")}. The results are from `
    + `${searched.join(" and ")}, so none is marked as a match.`;
}

function slider(name, matching, move) {
  const label = name === "combined" ? "A match has a score of at least" : `${name}: a score of at least`;
  const id = `threshold-${name}`;
  const exact = element("input", {
    type: "number", min: -1, max: 1, step: "any", class: "number", "aria-label": `${label}, as a number`,
    onchange: () => exact.value !== "" && exact.checkValidity() && move(name, Number(exact.value)),
  });
  const range = element("input", {
    id, type: "range", min: 0, max: 1, step: 0.005, oninput: () => move(name, Number(range.value)),
  });
  const distance = element("p", { class: "muted small threshold-told" });
  const shape = element("div", { class: "threshold-shape", "aria-hidden": "true" });
  const node = element("div", { class: "threshold-slider" },
    element("div", { class: "spread" }, element("label", { class: "small", for: id }, label), exact),
    shape, range, distance);

  function update(curve) {
    const score = matching.scores[name];
    if (curve?.thresholds.length) {
      range.min = Math.floor(Math.min(curve.thresholds[0], score ?? 1) * 100) / 100;
      range.max = Math.ceil(Math.max(curve.thresholds.at(-1), score ?? -1) * 100) / 100;
      shape.replaceChildren(curveShape(curve, range, score, matching.tuned[name]));
    }
    const best = curve?.row_f1 ? curve.best : null;
    range.value = score ?? best ?? (Number(range.min) + Number(range.max)) / 2;
    range.classList.toggle("is-unset", score == null);
    if (document.activeElement !== exact) exact.value = score == null ? "" : Number(score.toFixed(4));
    const tuned = matching.tuned[name];
    distance.replaceChildren(...(score == null ? unset(best, (start) => move(name, start)) : [
      `distance ≤ ${figure(1 - score)}${tuned == null ? "" : ` · tuned ${figure(tuned)}`}`]));
    range.setAttribute("aria-valuetext", score == null ? "none" : figure(score));
  }
  return { node, update, focus: () => range.focus({ preventScroll: true }) };
}

/** What is said in the place of a threshold; the best by the labels, where there are any, to begin with. */
function unset(best, take) {
  if (best == null) return ["No threshold is set: move the slider."];
  return ["No threshold is set. Best row F1: ", element("button", {
    class: "link", type: "button", onclick: () => take(Number(best.toFixed(4))),
  }, `start at ${figure(best)}`)];
}

/** Row F1 (or the number of pairs, where no labels are known) over the reach of the slider. */
function curveShape(curve, range, score, tuned) {
  const heights = curve.row_f1 ?? curve.num_pairs.map((number) => Math.log1p(number));
  const most = Math.max(...heights, 1e-9);
  const across = (value) => (100 * (value - range.min)) / (range.max - range.min);
  const points = curve.thresholds.map((value, at) =>
    `${across(value).toFixed(2)},${(30 - (28 * heights[at]) / most).toFixed(2)}`);
  const mark = (value, kind) =>
    value != null && svg("line", { class: kind, x1: across(value), x2: across(value), y1: 0, y2: 30 });
  return svg("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none" },
    svg("polyline", { points: points.join(" ") }), mark(tuned, "tuned"), mark(score, "now"));
}

/** Two populations: what labels say of items that no head has seen, and pairs of all items. */
function figureList() {
  const labelled = figureGroup("");
  const whole = figureGroup("In the whole store");
  const state = element("p", { class: "muted small", role: "status" });
  const bar = element("progress", { max: 1, value: 0, hidden: true, "aria-label": "Counting the whole store" });
  const node = element("div", { class: "panel-figures" }, labelled.node, whole.node, bar, state);
  labelled.node.hidden = whole.node.hidden = true;
  const known = {};

  function show(figures) {
    bar.hidden = true;
    Object.assign(known, figures);
    const rates = Object.entries(LABELS).filter(([name]) => figures[name] != null);
    labelled.node.hidden = rates.length === 0;
    labelled.show(rates.map(([name, label]) => entry(name, label, figure(figures[name]))));
    if (known.num_rows) {
      labelled.call(`Among ${counted(known.num_rows, "item")} with labels that no head has seen`);
    }
    whole.node.hidden = false;
    whole.show([entry("num_pairs", "Matching pairs", count(figures.num_pairs))]);
    let told = known.num_rows === null ? "No labels are known, so pairs are only counted." : "";
    if (known.without_decisions) told += " People's decisions are not counted in.";
    state.textContent = told.trim();
  }
  return {
    node,
    show,
    wait(progress) {
      bar.hidden = false;
      bar.value = progress;
      state.textContent = `Counting the pairs of the whole store: ${percent(progress)}`;
    },
    fail(error) {
      bar.hidden = true;
      state.textContent = error.message;
    },
  };
}

function figureGroup(name) {
  const heading = element("h3", {}, name);
  const list = element("dl", { class: "figures" });
  return {
    node: element("div", { class: "figure-group" }, heading, list),
    call: (words) => { heading.textContent = words; },
    show: (entries) => list.replaceChildren(...entries),
  };
}

function entry(name, label, value) {
  return element("div", { "data-figure": name }, element("dt", {}, label), element("dd", { class: "number" }, value));
}
