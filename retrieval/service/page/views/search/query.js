// What is searched for: an image, a title, both with a weight, or a product that was clicked.

import { element, percent } from "../../dom.js";
import { nameOf } from "../../product.js";
import { imageCalled } from "./images.js";

/** The form; `change` is called with what of the state changes, `takeImage` with a chosen file. */
export function queryForm({ change, takeImage, takesImages, takesTitles }) {
  const file = element("input", {
    id: "image-query", type: "file", accept: "image/*", class: "visually-hidden",
    onchange: () => {
      if (file.files[0]) takeImage(file.files[0]);
      file.value = ""; // the same file again is a change, too
    },
  });
  const title = element("input", {
    id: "title-query", name: "title", type: "search", placeholder: "Search by a title",
    maxlength: 10000, autocomplete: "off", "aria-label": "Title",
  });
  const given = element("div", { class: "query-given" });
  const weight = weightSlider((value) => change({ weight: value }));
  const node = element("form", {
    class: "query", role: "search",
    onsubmit: (event) => {
      event.preventDefault();
      const words = title.value.trim();
      change(words ? { title: words, id: null } : { title: "" });
    },
  },
    element("div", { class: "query-fields" },
      takesImages && [file,
        element("label", { class: "button query-image", for: "image-query" }, imageIcon(), "Choose an image")],
      takesTitles && [title, element("button", { class: "button primary" }, "Search")]),
    takesImages && element("p", { class: "query-hint muted small" }, "Or drop an image anywhere, or paste one."),
    given,
    weight.node,
  );

  function update(state, product) {
    if (document.activeElement !== title || state.title) title.value = state.title;
    given.replaceChildren(...givenChips(state, product, change));
    weight.update(state);
  }
  return { node, update };
}

function imageIcon() {
  return element("span", { class: "icon-image", "aria-hidden": "true" });
}

function givenChips(state, product, change) {
  const chips = [];
  if (state.image) {
    const image = imageCalled(state.image);
    chips.push(givenChip(image?.url, image?.label ?? "an image that is no longer here",
      "image", () => change({ image: null })));
  }
  if (state.id) {
    chips.push(givenChip(product?.image && `${product.image}?size=256`, product ? nameOf(product) : state.id,
      "product", () => change({ id: null })));
  }
  return chips;
}

function givenChip(url, label, what, remove) {
  return element("div", { class: "given" },
    url && element("img", { src: url, alt: "", width: 48, height: 48 }),
    element("span", { class: "given-label" }, label),
    element("button", {
      class: "button quiet icon small", type: "button", onclick: remove, "aria-label": `Remove the ${what}`,
    }, "×"),
  );
}

function weightSlider(change) {
  const words = element("output", { class: "number" });
  const slider = element("input", {
    id: "weight", type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Weight of the image",
    oninput: () => say(Number(slider.value)),
    onchange: () => change(Number(slider.value)),
  });
  const say = (value) => {
    words.textContent = `image ${percent(value)}, title ${percent(1 - value)}`;
    slider.setAttribute("aria-valuetext", words.textContent);
  };
  const node = element("div", { class: "query-weight small", hidden: true },
    element("span", { class: "muted", "aria-hidden": "true" }, "Title"), slider,
    element("span", { class: "muted", "aria-hidden": "true" }, "Image"), words);
  return {
    node,
    update(state) {
      node.hidden = !(state.image && state.title);
      slider.value = state.weight;
      say(state.weight);
    },
  };
}
