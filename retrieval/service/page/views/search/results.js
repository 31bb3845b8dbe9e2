// Results as a grid of products.

import { element, figure, percent } from "../../dom.js";
import { nameOf } from "../../product.js";

const ATTRIBUTES = 3; // under an image; the dialog has all

/**
 * The grid, or a list where no item has an image; `open` shows a product's columns,
 * `addressOfProduct` is where its neighbours are.
 */
export function resultGrid({ isList, open, addressOfProduct }) {
  const node = element("ul", { class: isList ? "grid is-list" : "grid", onkeydown: move });
  let cards = [];

  function show(results) {
    cards = results.map((result) => card(result, { isList, open, address: addressOfProduct(result.id) }));
    node.replaceChildren(...cards.map((one) => one.node));
  }

  /** Mark what matches; returns how many do, or null where nothing says it. */
  function mark(matching, onlyMatches) {
    let num = null;
    for (const one of cards) {
      const isMatch = one.mark(matching);
      if (isMatch !== null) num = (num ?? 0) + Number(isMatch);
      one.node.hidden = onlyMatches && !isMatch;
    }
    return num;
  }

  /** Follow what has become of the addresses of products. */
  function readdress() {
    for (const { node: one } of cards) {
      one.querySelector(".card-link").setAttribute("href", addressOfProduct(one.dataset.id));
    }
  }

  function move(event) {
    const links = [...node.querySelectorAll(".card:not([hidden]) .card-link")];
    const at = links.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "d") return event.target.closest(".card").querySelector("button").click();
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns(links),
      ArrowUp: at - columns(links), Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    links[to]?.focus();
  }

  return { node, show, mark, readdress };
}

/** How many cards stand side by side. */
function columns(links) {
  const top = links[0].getBoundingClientRect().top;
  const below = links.findIndex((link) => link.getBoundingClientRect().top > top + 1);
  return below < 0 ? links.length : below;
}

function card(result, { isList, open, address }) {
  const title = nameOf(result);
  const verdict = element("span", { class: "verdict" });
  const spaces = (result.spaces ?? []).map((space) => ({ space, mark: element("li", {}) }));
  const node = element("li", { class: "card", "data-id": result.id },
    !isList && element("div", { class: "card-image" }, picture(result, title)),
    element("div", { class: "card-text" },
      element("h3", { class: "card-title" },
        element("a", { class: "card-link", href: address, title }, title)),
      result.score !== undefined && element("p", { class: "card-scores number" },
        element("span", { class: "card-score" }, element("span", { class: "muted" }, "score "), figure(result.score)),
        element("span", { class: "muted" }, `distance ${figure(result.distance)}`)),
      result.probability != null && element("p", { class: "muted small" }, `${percent(result.probability)} likely the same`),
      spaces.length > 0 && element("ul", { class: "card-spaces", "aria-label": "Spaces" }, spaces.map(({ mark }) => mark)),
      attributeLines(result.attributes),
      element("div", { class: "card-foot" }, verdict,
        element("button", {
          class: "link card-details", type: "button", onclick: () => open(result.id),
          "aria-label": `Details of ${title}`,
        }, "Details"))));

  function mark(matching) {
    const isMatch = matching.isMatch(result);
    node.classList.toggle("is-match", isMatch === true);
    verdict.textContent = isMatch === null ? "" : isMatch ? "✓ Match" : "No match";
    for (const { space, mark: line } of spaces) agreement(line, space, matching.agrees(result, space));
    return isMatch;
  }
  return { node, mark };
}

/** A picture in a square, fetched when it comes near the screen. */
export function picture(item, title, size = 256) {
  if (!item.image) return element("span", { class: "no-image muted small" }, "no image");
  const image = element("img", {
    src: `${item.image}?size=${size}`, srcset: `${item.image}?size=${size} 1x, ${item.image}?size=${2 * size} 2x`,
    alt: title, loading: "lazy", decoding: "async", width: size, height: size,
    onerror: () => image.replaceWith(element("span", { class: "no-image muted small" }, "the image can't be read")),
  });
  return image;
}

function agreement(line, space, agrees) {
  line.className = agrees ? "agrees" : "";
  const sign = agrees === null ? "" : agrees ? "✓ " : "✗ ";
  const words = agrees === null ? "" : agrees ? " agrees" : " does not agree";
  line.replaceChildren(
    element("span", { "aria-hidden": "true" }, sign), space.name,
    element("span", { class: "visually-hidden" }, words),
    element("span", { class: "number" }, ` ${space.score == null ? "–" : space.score.toFixed(2)}`));
}

function attributeLines(attributes) {
  if (!attributes?.length) return null;
  return element("ul", { class: "card-attributes", "aria-label": "Predicted attributes" },
    attributes.slice(0, ATTRIBUTES).map(({ attribute, value, probability }) => element("li", {},
      element("span", { class: "muted" }, `${attribute} `), value,
      element("span", { class: "muted number" }, ` ${percent(probability)}`))));
}
