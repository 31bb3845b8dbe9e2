// A space in two dimensions: to zoom, to pan, and to open what is found there.

import { describeStore } from "../api.js";
import { count, counted, element, percent, settled, svg } from "../dom.js";
import { Scatter } from "./map/scatter.js";
import { addShape, awaited, choice, fault, markOf } from "../plot.js";
import { nameOf } from "../product.js";

const NUM_NEAR = 10;
const METHODS = { pca: "PCA", umap: "UMAP" };

export const keys = [
  [["←", "→", "↑", "↓"], "move the map, where it has the focus"],
  [["+", "−"], "nearer, further"],
  [["0"], "all of it"],
  [["Enter"], "search by the item in the middle"],
];

export async function show(main, parameters) {
  const leaving = new AbortController();
  let leaveMap = () => {};
  let turn = 0;
  const update = async (given) => {
    const mine = ++turn;
    try {
      const store = await describeStore();
      const asked = choices(store, given);
      const place = main.querySelector(".map-stage") ?? main;
      const found = await awaited(
        place, "The map is being drawn …", "/map", asked, leaving.signal);
      if (!found || mine !== turn) return;
      leaveMap();
      leaveMap = open(main, store, given, asked, found);
    } catch (error) {
      if (mine === turn && !leaving.signal.aborted) main.replaceChildren(fault(error));
    }
  };
  update(parameters);
  return {
    leave() {
      leaving.abort();
      leaveMap();
    },
    update,
  };
}

function choices(store, given) {
  const searched = store.spaces.find((space) => space.is_searched) ?? store.spaces[0];
  const colour = given.get("colour") ?? firstColour(store);
  return {
    space: given.get("space") ?? searched.name,
    method: given.get("method") ?? "pca",
    colour: colour || null,
  };
}

/** The first column with few values: a category rather than an id. */
function firstColour(store) {
  const column = store.columns.find(({ num_values: size }) => size > 1 && size <= 20);
  return column?.name ?? "";
}

function open(main, store, given, asked, found) {
  const hidden = new Set();
  const tip = element("div", { class: "map-tip", hidden: true });
  const near = element("ol", { class: "map-near" });
  const canvas = element("canvas", {
    class: "map-canvas", tabindex: 0, role: "application",
    "aria-label": `Map of ${counted(found.ids.length, "item")} in space ${found.space}: arrow keys `
      + "move it, plus and minus zoom, Enter opens the item in the middle",
  });
  const scatter = new Scatter(canvas, found, {
    onOver: (point, x, y) => showTip(tip, found, point, x, y, canvas),
    onOpen: (point) => { location.hash = itemAddress(found.ids[point]); },
    onView: settled(150, (points) => near.replaceChildren(...points.map((point) => listed(found, point)))),
    isHidden: (group) => hidden.has(group),
    numNear: NUM_NEAR,
  });
  const body = element("div", { class: "map-body" },
    element("div", { class: "map-stage" }, canvas, tip),
    element("div", { class: "map-side" },
      found.values && legend(found, asked.colour, hidden, () => scatter.draw()),
      element("section", { class: "panel", "aria-label": "Nearest to the middle" },
        element("h3", {}, "Nearest to the middle"), near)));
  body.style.setProperty("--aspect", scatter.aspect);
  main.replaceChildren(...bar(store, given, asked, found, scatter), body);
  scatter.start();
  return () => scatter.stop();
}

function bar(store, given, asked, found, scatter) {
  const go = (changes) => {
    location.hash = `#/map?${new URLSearchParams({ ...Object.fromEntries(given), ...changes })}`;
  };
  const spaces = store.spaces.map(({ name }) => [name, name]);
  const methods = found.methods.map((name) => [name, METHODS[name] ?? name]);
  const columns = store.columns.map(({ name }) => [name, name]);
  const button = (text, label, onclick) => element("button", {
    class: "button icon", type: "button", "aria-label": label, title: label, onclick }, text);
  return [
    element("div", { class: "map-bar" },
      choice("Space", spaces, asked.space, (space) => go({ space })),
      methods.length > 1 && choice("Method", methods, asked.method, (method) => go({ method })),
      choice("Coloured by", [["", "nothing"], ...columns], asked.colour ?? "", (colour) => go({ colour })),
      element("div", { class: "map-zoom" },
        button("+", "Nearer", () => scatter.zoom(1.5)),
        button("−", "Further", () => scatter.zoom(1 / 1.5)),
        button("⤢", "All of it", () => scatter.reset()))),
    element("p", { class: "small muted" }, told(found)),
  ];
}

function told(found) {
  const shown = found.ids.length < found.num_items
    ? `${count(found.ids.length)} of ${counted(found.num_items, "item")}, drawn by lot`
    : counted(found.num_items, "item");
  if (!found.explained) return `${shown}; neighbours lie near one another, axes have no meaning.`;
  const [across, up] = found.explained;
  return `${shown}; the axes show ${percent(across)} and ${percent(up)} of the variance of ${found.space}.`;
}

function legend(found, column, hidden, redraw) {
  const counts = new Array(found.values.length).fill(0);
  for (const group of found.colours) counts[group] += 1;
  const toggles = found.values.map((name, group) => element("li", {}, element("button", {
    type: "button", "aria-pressed": "true", title: name,
    onclick(event) {
      const isShown = hidden.delete(group);
      if (!isShown) hidden.add(group);
      event.currentTarget.setAttribute("aria-pressed", String(isShown));
      redraw();
    },
  }, sample(group), element("span", { class: "name" }, name),
  element("span", { class: "muted number" }, count(counts[group])))));
  return element("section", { class: "panel", "aria-label": `Values of ${column}` },
    element("h3", {}, column),
    element("ul", { class: "map-legend" }, toggles));
}

function sample(group) {
  const { hue, shape } = markOf(group);
  const corners = [];
  const path = {
    moveTo: (x, y) => corners.push(`M${x},${y}`),
    lineTo: (x, y) => corners.push(`L${x},${y}`),
    closePath: () => corners.push("Z"),
    arc: (x, y, radius) => corners.push(
      `A${radius},${radius} 0 1 1 ${x - radius},${y}A${radius},${radius} 0 1 1 ${x + radius},${y}`),
  };
  addShape(path, shape, 7, 7, 5);
  return svg("svg", { class: hue, viewBox: "0 0 14 14", "aria-hidden": "true" },
    svg("path", { d: corners.join("") }));
}

function showTip(tip, found, point, x, y, canvas) {
  tip.hidden = point == null;
  if (point == null) return;
  const id = found.ids[point];
  if (tip.dataset.id !== id) {
    tip.dataset.id = id;
    const group = found.values?.[found.colours[point]];
    tip.replaceChildren(...[
      found.images[point] && element("img", { src: `/image/${encodeURIComponent(id)}?size=256`, alt: "" }),
      element("p", {}, nameOf({ title: found.titles[point], id }), group && element("span", { class: "muted" }, ` · ${group}`)),
    ].filter(Boolean));
  }
  const isRight = x > canvas.clientWidth / 2;
  const isLow = y > canvas.clientHeight / 2;
  tip.style.left = `${Math.max(4, isRight ? x - 256 : Math.min(x + 16, canvas.clientWidth - 244))}px`;
  tip.style.top = `${isLow ? y - 16 - tip.offsetHeight : y + 16}px`;
}

function listed(found, point) {
  const id = found.ids[point];
  return element("li", {}, element("a", { href: itemAddress(id) }, nameOf({ title: found.titles[point], id })));
}

function itemAddress(id) {
  return `#/search?${new URLSearchParams({ id })}`;
}
