// Which view is shown, by the part of the address after '#'.
//
// Each view is a module with `show(main, parameters)`, which may be async. It returns what is called
// when the view is left, or an object of `leave` and `update`: `update(parameters)` is called where
// only the parameters change. A view may export its `keys` for the list of keys.

import { describeStore } from "./api.js";
import { count, element } from "./dom.js";
import { isTyping, showHelp } from "./help.js";
import { nameBy } from "./product.js";

const VIEWS = {
  search: { title: "Search", load: () => import("./views/search.js") },
  review: { title: "Review", load: () => import("./views/review.js") },
  groups: { title: "Groups", load: () => import("./views/groups.js") },
  map: { title: "Map", load: () => import("./views/map.js") },
  curve: { title: "Curve", load: () => import("./views/curve.js") },
};

const view = document.getElementById("view");
let current = { name: null, shown: {} };
let turn = 0;

async function follow() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const name = path in VIEWS ? path : "search";
  const parameters = new URLSearchParams(query);
  if (current.name === name && current.shown.update) return current.shown.update(parameters);
  const mine = ++turn; // who clicks faster than a view opens gets the last one
  const isFirst = current.name === null;
  current.shown.leave?.();
  current = { name, shown: {} };
  prepare(name);
  const main = element("div", { class: `view view-${name}` });
  view.replaceChildren(main);
  if (!isFirst) view.focus({ preventScroll: true });
  try {
    const module = await VIEWS[name].load();
    if (mine !== turn) return;
    const given = await module.show(main, parameters);
    const shown = typeof given === "function" ? { leave: given } : given ?? {};
    if (mine !== turn) return shown.leave?.();
    current = { name, shown, keys: module.keys };
  } catch (error) {
    if (mine === turn) main.replaceChildren(fault(error));
  }
}

function prepare(name) {
  document.title = `${VIEWS[name].title} · Product search`;
  scrollTo(0, 0);
  for (const link of document.querySelectorAll("#views a")) {
    const isCurrent = link.getAttribute("href") === `#/${name}`;
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function fault(error) {
  return element("div", { class: "empty", role: "alert" },
    element("h2", {}, "This can't be shown"),
    element("p", {}, error.message),
    element("button", { class: "button", onclick: () => location.reload() }, "Try again"),
  );
}

addEventListener("hashchange", follow);

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // '#view' would be taken for the address of a view
  view.focus();
});

const help = () => showHelp(VIEWS[current.name]?.title, current.keys);
document.getElementById("help").addEventListener("click", help);
addEventListener("keydown", (event) => {
  if (event.key === "?" && !isTyping(event)) help();
  if (event.key === "/" && !isTyping(event) && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    const field = document.getElementById("title-query");
    if (field) field.focus();
    else location.hash = "#/search";
  }
});

describeStore().then(({ name, num_items: size, label }) => {
  nameBy(label);
  document.getElementById("store").append(
    name, element("span", { class: "shell-size" }, ` · ${count(size)} items`));
}, () => {}); // the view says what is wrong
follow();
