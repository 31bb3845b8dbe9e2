// Two products side by side, and where they differ.

import { element, figure } from "../../dom.js";
import { showProduct } from "../../product.js";

/** The name of a product: its title, or its id. */
export function titleOf(item) {
  return item.title || item.id;
}

/** Two products with what the spaces say of them; columns with other values are marked. */
export function pairNode(pair, store) {
  const hidden = new Set([store.title_column, store.image_column]);
  const names = Object.keys(pair.first.columns).filter((name) => !hidden.has(name));
  const differs = (name) => pair.first.columns[name] !== pair.second.columns[name];
  const ordered = [...names.filter(differs), ...names.filter((name) => !differs(name))];
  return element("div", { class: "review-pair" },
    element("div", { class: "review-products" },
      [pair.first, pair.second].map((item) => productNode(item, ordered, differs))),
    scoreNode(pair, store.threshold));
}

/** Load the images of pairs that come next. */
export function preload(pairs) {
  for (const { first, second } of pairs) {
    for (const { image } of [first, second]) if (image) new Image().src = largeOf(image);
  }
}

function largeOf(image) {
  return `${image}?size=512`;
}

function productNode(item, names, differs) {
  return element("article", { class: "review-product" },
    element("button", {
      class: "review-image", type: "button", "aria-label": `Details of ${titleOf(item)}`, onclick: () => showProduct(item.id),
    }, item.image
      ? element("img", { src: largeOf(item.image), alt: "" })
      : element("span", { class: "muted" }, "no image")),
    element("h3", {}, titleOf(item)),
    element("dl", { class: "review-columns small" }, names.map((name) => [
      element("dt", { class: "muted" }, name),
      element("dd", { class: differs(name) ? "differs" : null },
        item.columns[name] === "" ? "–" : String(item.columns[name]),
        differs(name) && element("span", { class: "visually-hidden" }, " (differs)")),
    ])));
}

function scoreNode(pair, threshold) {
  const cut = threshold?.score_threshold;
  const facts = [["score", figure(pair.score)], ["distance", figure(pair.distance)]];
  if (cut != null) facts.push(["threshold", figure(cut)]);
  if (pair.spaces.length > 1) {
    for (const { name, score, agrees } of pair.spaces) {
      facts.push([name, `${figure(score)}${agrees == null ? "" : agrees ? " ✓" : " ✗"}`]);
    }
  }
  return element("div", { class: "review-facts" },
    element("dl", { class: "review-scores small" }, facts.map(([name, value]) =>
      element("div", {}, element("dt", { class: "muted" }, name), element("dd", { class: "number" }, value)))),
    element("p", { class: "small" }, verdictOf(pair)));
}

function verdictOf({ is_match: isMatch, is_labelled_same: isSame }) {
  const said = [];
  if (isMatch != null) said.push(isMatch ? "a match so far" : "no match so far");
  if (isSame != null) said.push(isSame ? "the labels say: same" : "the labels say: different");
  return said.join(" · ");
}
