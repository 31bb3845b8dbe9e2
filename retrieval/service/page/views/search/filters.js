// Which items are searched, by the values of their columns, and in which spaces.

import { element } from "../../dom.js";

/** The panel of filters; `change` is called with the new `where`. Values of a column are alternatives. */
export function filterPanel(store, change) {
  const chips = element("div", { class: "chips" });
  let where = [];

  const column = element("select", { id: "filter-column", onchange: offer },
    store.columns.map(({ name }) => element("option", { value: name, selected: name === likeliest(store) }, name)));
  const place = element("div", { class: "filter-value" });
  const form = element("form", {
    class: "filter-form",
    onsubmit: (event) => {
      event.preventDefault();
      const value = place.querySelector("select, input").value;
      change([...new Set([...where, `${column.value}=${value}`])]);
    },
  },
    element("label", { class: "field", for: "filter-column" }, "Column", column),
    place,
    element("button", { class: "button" }, "Add"));

  function offer() {
    const { values, num_values: numValues } = store.columns.find(({ name }) => name === column.value);
    place.replaceChildren(
      element("label", { class: "field", for: "filter-value" }, "Value", valueField(values, numValues)));
  }

  function update(state) {
    where = state.where;
    chips.hidden = where.length === 0;
    chips.replaceChildren(...where.map((one) => chip(one, () => change(where.filter((other) => other !== one)))));
  }

  if (store.columns.length) offer();
  const node = element("section", { class: "panel filters", "aria-labelledby": "filters-heading" },
    element("h2", { id: "filters-heading" }, "Filters"), chips,
    store.columns.length ? form : element("p", { class: "muted small" }, "The items have no columns."));
  return { node, update };
}

/** The column that divides the items into the fewest parts. */
function likeliest({ columns }) {
  const dividing = columns.filter(({ num_values: num }) => num > 1);
  return dividing.sort((one, other) => one.num_values - other.num_values)[0]?.name;
}

/** All values to choose from, or, where there are too many, a field that proposes some. */
function valueField(values, numValues) {
  if (values && values.length === numValues) {
    return element("select", { id: "filter-value" },
      values.map((value) => element("option", { value }, value === "" ? "(empty)" : value)));
  }
  return [
    element("input", { id: "filter-value", type: "text", list: "filter-values", required: true, autocomplete: "off" }),
    element("datalist", { id: "filter-values" }, (values ?? []).map((value) => element("option", { value }))),
  ];
}

function chip(text, remove) {
  const [column, value] = [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)];
  return element("button", {
    class: "chip", type: "button", "aria-pressed": "true", onclick: remove,
    "aria-label": `Remove the filter ${column} ${value || "(empty)"}`,
  }, element("span", {}, element("span", { class: "muted" }, `${column} `), value || "(empty)"),
    element("span", { "aria-hidden": "true" }, "×"));
}

/** The panel of spaces; `change` is called with those that are searched, none for the usual ones. */
export function spacePanel(store, change) {
  const usual = store.spaces.filter((space) => space.is_searched).map(({ name }) => name);
  let chosen = usual;
  const buttons = store.spaces.map((space) => element("button", {
    class: "chip", type: "button", disabled: space.takes.length === 0, title: space.why_not,
    onclick: () => {
      const isIn = chosen.includes(space.name);
      if (isIn && chosen.length === 1) return; // something has to be searched
      const next = store.spaces.map(({ name }) => name)
        .filter((name) => (name === space.name ? !isIn : chosen.includes(name)));
      change(String(next) === String(usual) ? [] : next);
    },
  }, space.name, element("span", { class: "muted" }, space.modality)));

  function update(state) {
    chosen = state.spaces.length ? state.spaces : usual;
    store.spaces.forEach(({ name }, at) => buttons[at].setAttribute("aria-pressed", chosen.includes(name)));
  }

  const reasons = store.spaces.filter((space) => space.why_not)
    .map((space) => element("p", { class: "muted small" }, `${space.name}: ${space.why_not}`));
  const node = element("section", { class: "panel", "aria-labelledby": "spaces-heading" },
    element("h2", { id: "spaces-heading" }, "Spaces"),
    element("div", { class: "chips" }, buttons),
    reasons.length > 0 && element("details", { class: "small" },
      element("summary", { class: "muted" }, "What new images and titles can't be compared in"), reasons));
  return { node, update };
}
