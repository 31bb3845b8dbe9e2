// Which view is shown, by the part of the address after '#'.
// Each view is a module with `show(main, parameters)`; what it returns is called when it is left.

const VIEWS = {
  search: () => import("./views/search.js"),
  review: () => import("./views/review.js"),
  groups: () => import("./views/groups.js"),
  map: () => import("./views/map.js"),
  curve: () => import("./views/curve.js"),
};

let leave = () => {};

async function show() {
  const [name, query] = location.hash.replace(/^#\/?/, "").split("?");
  const view = await (VIEWS[name] ?? VIEWS.search)();
  leave();
  const main = document.getElementById("view");
  main.replaceChildren();
  for (const link of document.querySelectorAll("nav a")) {
    const isCurrent = link.hash === `#/${name || "search"}`;
    isCurrent ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  leave = (await view.show(main, new URLSearchParams(query))) ?? (() => {});
}

addEventListener("hashchange", show);
show();
