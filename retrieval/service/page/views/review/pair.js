// Two products side by side, and where they differ.

import { element, figure } from "../../dom.js";
import { endOf, showProduct } from "../../product.js";

/** The name of a product: its title, or the end of its id; not its label, which is not yet shown. */
export function titleOf(item) {
  return item.title || endOf(item.id);
}

/**
 * Two products, the columns that differ, and what the spaces say of them. What the labels say is
 * hidden until it is asked for: people who see it first copy it.
 */
export function pairNode(pair, store) {
  const hidden = new Set([store.title_column, store.image_column, store.label]);
  const names = Object.keys(pair.first.columns).filter((name) => !hidden.has(name));
  const differing = names.filter((name) => pair.first.columns[name] !== pair.second.columns[name]);
  const equal = names.filter((name) => !differing.includes(name));
  return element("div", { class: "review-pair" },
    element("div", { class: "review-products" },
      [pair.first, pair.second].map((item) => productNode(item, differing))),
    scoreNode(pair, store.threshold),
    element("div", { class: "review-more small" },
      equal.length > 0 && element("details", {},
        element("summary", {}, differing.length ? "All columns" : "All columns: none differs"),
        element("dl", { class: "review-columns" }, equal.map((name) => column(pair.first, name, false)))),
      store.label in pair.first.columns && labelNode(pair, store.label)));
}

function labelNode(pair, label) {
  const place = element("p", { class: "review-label" });
  const show = element("button", {
    class: "link", type: "button", onclick: () => {
      const values = [pair.first, pair.second].map((item) => valueOf(item, label)).join(" and ");
      place.replaceChildren(`${label}: ${values}${said(pair.is_labelled_same)}`);
    },
  }, "Show label");
  place.append(show);
  return place;
}

function said(isSame) {
  return isSame == null ? "" : ` (${isSame ? "the same" : "different"})`;
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

function productNode(item, differing) {
  return element("article", { class: "review-product" },
    element("button", {
      class: "review-image", type: "button", "aria-label": `Details of ${titleOf(item)}`, onclick: () => showProduct(item.id),
    }, item.image
      ? element("img", { src: largeOf(item.image), alt: "" })
      : element("span", { class: "muted" }, "no image")),
    element("h3", {}, titleOf(item)),
    element("dl", { class: "review-columns small" }, differing.map((name) => column(item, name, true))));
}

function column(item, name, differs) {
  return [
    element("dt", { class: "muted" }, name),
    element("dd", { class: differs ? "differs" : null }, valueOf(item, name),
      differs && element("span", { class: "visually-hidden" }, " (differs)")),
  ];
}

function valueOf(item, name) {
  return item.columns[name] === "" ? "–" : String(item.columns[name]);
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
    pair.is_match != null && element("p", { class: "small" }, pair.is_match ? "a match so far" : "no match so far"));
}
