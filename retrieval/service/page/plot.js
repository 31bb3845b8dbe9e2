// What the views that draw have in common: hues, shapes, ticks, and waiting for what is computed.

import { untilReady, withParameters } from "./api.js";
import { element } from "./dom.js";

const NUM_HUES = 8;
const SHAPES = ["circle", "square", "triangle", "diamond"];

/** The class of the colour, and the shape, of the n-th of up to 32 groups: no two have both. */
export function markOf(number) {
  const hue = number % NUM_HUES;
  const turn = Math.floor(number / NUM_HUES);
  const shift = Math.floor(hue / SHAPES.length); // hues that are kin have other shapes
  return { hue: `hue-${hue}`, shape: SHAPES[(hue + shift + turn) % SHAPES.length] };
}

/** Add a shape of a radius around a point to a path. */
export function addShape(path, shape, x, y, radius) {
  if (shape === "circle") {
    path.moveTo(x + radius, y);
    path.arc(x, y, radius, 0, 2 * Math.PI);
    return;
  }
  const corners = {
    square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
    triangle: [[0, -1.2], [1.1, 0.85], [-1.1, 0.85]],
    diamond: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
  }[shape];
  corners.forEach(([dx, dy], place) => {
    path[place ? "lineTo" : "moveTo"](x + radius * dx, y + radius * dy);
  });
  path.closePath();
}

/** Round numbers from low to high, about as many as wanted. */
export function ticks(low, high, wanted) {
  const rough = (high - low || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n += 1) {
    found.push(Number((n * step).toPrecision(12)));
  }
  return found;
}

/** Call back when the page turns from light to dark or back; returns what ends that. */
export function onScheme(callback) {
  const media = matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(callback);
  observer.observe(document.documentElement, { attributeFilter: ["data-scheme"] });
  media.addEventListener("change", callback);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", callback);
  };
}

/**
 * What the service computes in the background; until it is there, `place` says how far it is.
 *
 * Returns null where the view was left before.
 */
export async function awaited(place, what, path, parameters, signal) {
  const bar = element("progress", { max: 1, "aria-label": what });
  const note = element("div", { class: "waiting", role: "status" }, element("p", {}, what), bar);
  const late = setTimeout(() => place.replaceChildren(note), 250); // what is quick does not flicker
  try {
    const onProgress = (share) => { bar.value = share; };
    return await untilReady(withParameters(path, parameters), { signal, onProgress });
  } catch (error) {
    if (signal.aborted) return null;
    throw error;
  } finally {
    clearTimeout(late);
    note.remove();
  }
}

/** What is shown in the place of what the service could not give. */
export function fault(error) {
  return element("div", { class: "empty", role: "alert" },
    element("h2", {}, "This can't be shown"), element("p", {}, error.message));
}

/** A select with a label; `choices` are pairs of value and text. */
export function choice(label, choices, chosen, onchange) {
  const options = choices.map(([value, text]) =>
    element("option", { value, selected: value === chosen }, text));
  const select = element("select", { onchange: () => onchange(select.value) }, options);
  return element("label", { class: "field" }, label, select);
}
