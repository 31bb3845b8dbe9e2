// A product in a dialog: its image, all its columns, and what a head predicts of it.

import { describeStore, request, withParameters } from "./api.js";
import { element, figure, percent, svg } from "./dom.js";

let naming = null;

/** Items without a title are called by this column; null takes their ids. */
export function nameBy(column) {
  naming = column;
}

/** What an item is called: its title, else its value of the label's column, else its id's last part. */
export function nameOf(item) {
  return item.title || item.columns?.[naming] || endOf(item.id);
}

/** The last part of an id that is a path, or a path with dots; "photo.jpg" is one part. */
export function endOf(id) {
  const name = id.split("/").filter(Boolean).at(-1) ?? id;
  const end = name.split(".").at(-1);
  return end.length > 4 ? end : name;
}

/** Where an item is asked for; its id may hold any character. */
export function itemPath(id) {
  return `/items/${encodeURIComponent(id)}`;
}

/** Show a product; `similar` is the address of its neighbours, `closed` is called at the end. */
export function showProduct(id, { similar = `#/search?id=${encodeURIComponent(id)}`, closed = () => {} } = {}) {
  const content = element("div", { class: "product", "aria-busy": "true" }, element("p", { class: "muted" }, "Loading…"));
  const dialog = element("dialog", { class: "dialog", "aria-label": "Product" },
    element("form", { method: "dialog", class: "product-close" },
      element("button", { class: "button quiet icon", "aria-label": "Close" }, "×")),
    content);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  fill(content, id, similar).catch((error) => {
    content.replaceChildren(element("h2", { id: "product-heading" }, "This product can't be shown"),
      element("p", { class: "fault", role: "alert" }, error.message));
  }).finally(() => content.removeAttribute("aria-busy"));
  return dialog;
}

async function fill(content, id, similar) {
  const [item, store] = await Promise.all([request(itemPath(id)), describeStore()]);
  const title = nameOf(item);
  const attributes = element("div", {});
  content.replaceChildren(
    element("div", { class: "product-image" }, item.image
      ? element("img", { src: `${item.image}?size=full`, alt: title })
      : element("span", { class: "no-image muted" }, "no image")),
    element("div", { class: "product-text" },
      element("h2", { id: "product-heading", tabindex: -1 }, title),
      element("p", { class: "row" },
        element("a", { class: "button primary", href: similar }, "Find similar")),
      attributes,
      element("section", {}, element("h3", {}, "Columns"), columnList(item))));
  content.querySelector("h2").focus();
  if (store.attributes?.length) await predicted(attributes, item);
}

function columnList(item) {
  const rows = Object.entries({ id: item.id, ...item.columns });
  return element("dl", { class: "columns" }, rows.map(([name, value]) => [
    element("dt", {}, name), element("dd", {}, value === "" || value == null ? "–" : String(value)),
  ]));
}

async function predicted(place, item) {
  const { attributes } = await request(withParameters("/attributes", { id: item.id }));
  if (attributes.length) place.replaceChildren(attributeList(attributes));
}

/** Predicted attributes, each with its probability as a bar and the next likely values. */
export function attributeList(attributes) {
  return element("section", {}, element("h3", {}, "Predicted attributes"),
    element("dl", { class: "attributes" }, attributes.map((one) => [
      element("dt", {}, one.attribute),
      element("dd", {}, chances(one).map(({ value, probability }, at) => element("div", { class: at ? "chance other" : "chance" },
        element("span", {}, value),
        svg("svg", { class: "bar", "aria-hidden": "true", width: "100%", height: 4 },
          svg("rect", { width: `${100 * probability}%`, height: 4 })),
        element("span", { class: "number", title: figure(probability) }, percent(probability))))),
    ])));
}

function chances({ value, probability, others = [] }) {
  return [{ value, probability }, ...others.filter((other) => other.value !== value)];
}
