// Which keys there are.

import { element } from "./dom.js";

const EVERYWHERE = [
  [["?"], "this list"],
  [["/"], "to the title that is searched for"],
  [["Tab"], "to the next thing that can be used"],
  [["Esc"], "close what has opened"],
];

/** Show the keys that work everywhere, and those of a view: [[keys], what they do]. */
export function showHelp(name, keys = []) {
  if (document.querySelector("dialog[open]")) return;
  const dialog = element("dialog", { class: "dialog narrow", "aria-labelledby": "help-heading" },
    element("h2", { id: "help-heading" }, "Keys"),
    table(EVERYWHERE),
    keys.length > 0 && [element("h3", {}, name), table(keys)],
    element("form", { method: "dialog", class: "row end" },
      element("button", { class: "button primary" }, "Close")),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

function table(rows) {
  return element("dl", { class: "keys" }, rows.map(([keys, what]) => [
    element("dt", {}, keys.map((key) => element("kbd", {}, key))),
    element("dd", {}, what),
  ]));
}

/** Whether somebody types, so that a letter is a letter. */
export function isTyping(event) {
  const { target } = event;
  const isField = target.closest?.("input:not([type=range], [type=checkbox]), select, textarea");
  return Boolean(isField) || event.ctrlKey || event.metaKey || event.altKey;
}
