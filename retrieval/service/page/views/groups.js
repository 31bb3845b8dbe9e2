// The groups of items that match one another: the largest or the most doubtful first.

import { describeStore } from "../api.js";
import { count, counted, element, figure } from "../dom.js";
import { awaited, choice, fault } from "../plot.js";
import { nameOf } from "../product.js";

const ON_PAGE = 20;
const ORDERS = [["size", "Largest first"], ["doubt", "Most doubtful first"]];
const LINKAGES = [["complete", "items that all match one another"], ["single", "chains of matches"]];
const [[USUAL]] = LINKAGES;
const MOST_LINKS = 100;

export const keys = [
  [["Tab"], "from group to group"],
  [["Enter"], "all of a group"],
];

export async function show(main, parameters) {
  const leaving = new AbortController();
  let turn = 0;
  let held = null; // what had the focus last, even where the wait took it away
  const update = async (given) => {
    const mine = ++turn;
    held = focusedIn(main) ?? held;
    try {
      const nodes = await (given.get("group") ? whole : list)(main, given, leaving.signal);
      if (!nodes || mine !== turn) return;
      held = focusedIn(main) ?? held;
      main.replaceChildren(...nodes);
      if (held) focusAgain(main, held);
      held = null;
    } catch (error) {
      if (mine === turn && !leaving.signal.aborted) main.replaceChildren(fault(error));
    }
  };
  update(parameters);
  return { leave: () => leaving.abort(), update };
}

function focusedIn(main) {
  return main.contains(document.activeElement) ? document.activeElement : null;
}

/** The focus for what is in the place of what had it, unless it has moved on meanwhile. */
function focusAgain(main, held) {
  if (document.activeElement !== document.body) return;
  const controls = [...main.querySelectorAll(".groups-bar :is(button, select)")];
  const same = controls.find((control) => labelOf(control) === labelOf(held));
  (same ?? main.querySelector("h2")).focus();
}

const labelOf = (node) => (node.closest("label") ?? node).textContent;

/** The address of this view with some parameters changed; null takes one out. */
function address(given, changes) {
  const query = new URLSearchParams(given);
  for (const [name, value] of Object.entries(changes)) {
    if (value == null) query.delete(name);
    else query.set(name, value);
  }
  return `#/groups?${query}`;
}

const go = (given, changes) => { location.hash = address(given, changes); };

async function list(main, given, signal) {
  const { threshold } = await describeStore();
  if (!threshold && !given.get("threshold")) return [bar(given, null), asking(given)];
  const order = given.get("order") ?? "size";
  const start = Number(given.get("start")) || 0;
  const linkage = given.get("linkage") ?? USUAL;
  const asked = { order, start, limit: ON_PAGE, linkage, threshold: given.get("threshold") };
  const place = main.querySelector(".groups-list") ?? main;
  const found = await awaited(place, "Matches are being put into groups …", "/groups", asked, signal);
  if (!found) return null;
  if (!found.num_groups) {
    return [bar(given, found), element("div", { class: "empty" },
      element("h2", {}, "No two items match"),
      element("p", {}, "At a lower threshold there would be groups: see ",
        element("a", { href: "#/curve" }, "what other thresholds give"), "."))];
  }
  return [
    bar(given, found),
    linkage === "single" && found.groups.some(isMostlyUnmatched) ? chained(given) : "",
    element("ol", { class: "groups-list" }, found.groups.map((group) => card(given, group))),
    pages(given, found, start),
  ];
}

/** Whether most pairs of a group do not match. */
function isMostlyUnmatched({ size, num_unmatched: unmatched }) {
  return unmatched > (size * (size - 1)) / 4;
}

/** Why a group may hold what is nothing alike, and what to do about it. */
function chained(given) {
  return element("p", { class: "note" },
    "Chains join items that do not match one another: one is like the next, but the first is not like the last. ",
    element("a", { href: address(given, { linkage: USUAL, start: null }) }, "Make groups whose items all match"), ".");
}

/** Where nothing says what a match is, a score is asked for. */
function asking(given) {
  const field = element("input", {
    type: "number", min: -1, max: 1, step: "any", required: true, name: "threshold", value: "0.8" });
  return element("form", {
    class: "empty",
    onsubmit: (event) => {
      event.preventDefault();
      go(given, { threshold: field.value });
    },
  },
  element("h2", {}, "What is a match?"),
  element("p", {}, "The service was started without a threshold. Items whose score reaches this one match:"),
  element("label", { class: "field" }, "Score", field),
  element("button", { class: "button primary" }, "Make groups"));
}

function bar(given, found) {
  const order = given.get("order") ?? "size";
  const buttons = ORDERS.map(([value, text]) => element("button", {
    class: "chip", type: "button", "aria-pressed": String(value === order),
    onclick: () => go(given, { order: value, start: null }),
  }, text));
  return element("div", { class: "groups-bar" },
    element("h2", { tabindex: -1 }, found ? counted(found.num_groups, "group") : "Groups"),
    found && element("div", { class: "groups-order", role: "group", "aria-label": "Order" }, buttons),
    found && choice("A group is made of", LINKAGES, given.get("linkage") ?? USUAL,
      (linkage) => go(given, { linkage, start: null })));
}

function card(given, group) {
  const [first, second, ...others] = group.items;
  const shown = others.slice(0, 4);
  const more = group.size - 2 - shown.length;
  return element("li", { class: "group-card" },
    element("h3", {}, element("a", { href: address(given, { group: group.number }) },
      counted(group.size, "item"))),
    about(group, false),
    element("div", { class: "group-items" },
      thumb(first), weakest(group), thumb(second), shown.map(thumb),
      more > 0 && element("span", { class: "group-more" }, `+ ${count(more)}`)));
}

function weakest(group) {
  return element("span", { class: "group-link" },
    element("span", { class: "visually-hidden" }, "weakest link "), figure(group.weakest));
}

function about(group, withScore) {
  const margin = group.margin == null ? null
    : `${figure(Math.abs(group.margin))} ${group.margin < 0 ? "below" : "above"} the threshold`;
  return element("p", { class: "group-about" },
    withScore && element("span", { class: "number" }, `weakest link ${figure(group.weakest)}`),
    margin && element("span", { class: "number" }, margin),
    group.is_flagged && element("span", { class: "group-flag" }, held(group)));
}

function held(group) {
  if (!group.num_unmatched) return "⚠ below the threshold";
  return `⚠ ${counted(group.num_unmatched, "pair does", "pairs do")} not match`;
}

function thumb(item) {
  if (!item.image) return element("span", { class: "group-thumb none" }, nameOf(item));
  return element("img", {
    class: "group-thumb", src: `${item.image}?size=256`, alt: nameOf(item), loading: "lazy" });
}

function pages(given, found, start) {
  const stop = Math.min(start + ON_PAGE, found.num_groups);
  if (start === 0 && stop === found.num_groups) return "";
  const turn = (to, text, isPossible) => element("button", {
    class: "button", type: "button", disabled: !isPossible,
    onclick: () => {
      go(given, { start: to });
      scrollTo(0, 0);
    },
  }, text);
  return element("nav", { class: "groups-pages", "aria-label": "Pages" },
    turn(Math.max(0, start - ON_PAGE), "Previous", start > 0),
    element("span", { class: "muted number" },
      `${count(start + 1)} – ${count(stop)} of ${count(found.num_groups)}`),
    turn(stop, "Next", stop < found.num_groups));
}

async function whole(main, given, signal) {
  const number = Number(given.get("group"));
  const asked = { linkage: given.get("linkage"), threshold: given.get("threshold") };
  const place = main.querySelector(".groups-list") ?? main;
  const found = await awaited(
    place, "Matches are being put into groups …", `/groups/${number}`, asked, signal);
  if (!found) return null;
  const { group } = found;
  const items = new Map(group.items.map((item) => [item.id, item]));
  const tied = new Set(group.weakest_link);
  scrollTo(0, 0);
  return [
    element("div", { class: "group-whole" },
      element("p", {}, element("a", { href: address(given, { group: null }) }, "← All groups")),
      element("div", {},
        element("h2", { tabindex: -1 }, `Group ${number}: ${counted(group.size, "item")}`),
        group.weakest != null && about(group, true)),
      element("ul", { class: "group-grid" }, group.items.map((item) =>
        element("li", { class: tied.has(item.id) && "is-weakest" },
          element("a", { href: itemAddress(item) }, thumb(item),
            element("span", {}, nameOf(item)))))),
      group.items.length < group.size && element("p", { class: "muted" },
        `${count(group.items.length)} of ${counted(group.size, "item")} are shown.`),
      found.links.length > 0 && links(found, items)),
  ];
}

function links(found, items) {
  const shown = found.links.slice(0, MOST_LINKS);
  const rest = found.num_links - shown.length;
  return element("div", { class: "panel" },
    element("h3", {}, `${counted(found.num_links, "link")}, weakest first`),
    element("ol", { class: "group-links" }, shown.map((link) => {
      const first = items.get(link.first);
      const second = items.get(link.second);
      return element("li", { class: link.is_weakest && "is-weakest" },
        thumb(first), element("a", { href: itemAddress(first) }, nameOf(first)),
        element("span", { class: "number" }, figure(link.score),
          link.is_weakest && element("span", { class: "small" }, " weakest")),
        element("a", { href: itemAddress(second) }, nameOf(second)), thumb(second));
    })),
    rest > 0 && element("p", { class: "small muted" }, `and ${counted(rest, "stronger one")}`));
}

function itemAddress(item) {
  return `#/search?${new URLSearchParams({ id: item.id })}`;
}
