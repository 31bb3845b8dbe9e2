// The section of the results: what they are, what is said of them, and what is said where there are none.

import { element } from "../../dom.js";
import { attributeList } from "../../product.js";
import { sentence, whyNothing } from "./words.js";

/**
 * The section around a grid; `toggleMatches`, `showMore`, `removeFilters` and `tryAgain` are what its
 * buttons do.
 */
export function resultSection(grid, { toggleMatches, showMore, removeFilters, tryAgain }) {
  const heading = element("h2", { id: "results-heading", tabindex: -1 });
  const summary = element("p", { class: "muted small", role: "status" });
  const only = element("button", { class: "chip", type: "button", onclick: toggleMatches }, "Only matches");
  const more = element("button", { class: "button", type: "button", onclick: showMore }, "Show more");
  const notes = element("div", { class: "notes" });
  const outcome = element("div", {});
  const node = element("section", { class: "search-results", "aria-labelledby": "results-heading" },
    element("div", { class: "results-head" }, element("div", {}, heading, summary), only),
    notes, outcome, grid.node,
    element("p", { class: "results-foot" }, more));

  function say(words, details) {
    heading.textContent = words;
    summary.textContent = details;
  }

  /** Begin anew, with what is amiss. */
  function begin(warnings) {
    outcome.replaceChildren();
    notes.replaceChildren();
    for (const warning of warnings) addNote(sentence(warning));
  }

  function addNote(words) {
    notes.append(element("p", { class: "note" }, words));
  }

  /** What a head predicts of the image that is searched by. */
  function addAttributes(attributes) {
    notes.append(element("details", { class: "query-attributes", open: true },
      element("summary", {}, "Your image"), attributeList(attributes)));
  }

  function sayEmpty(state) {
    outcome.replaceChildren(element("div", { class: "empty" },
      element("h2", {}, "Nothing is found"),
      element("p", {}, whyNothing(state)),
      state.where.length > 0
        && element("button", { class: "button", type: "button", onclick: removeFilters }, "Remove the filters")));
  }

  function fail(error) {
    grid.show([]);
    more.hidden = only.hidden = true;
    say("No results", "");
    notes.replaceChildren();
    outcome.replaceChildren(element("div", { class: "empty", role: "alert" },
      element("p", { class: "fault" }, error.message),
      element("button", { class: "button", type: "button", onclick: tryAgain }, "Try again")));
  }

  return { node, heading, only, more, say, begin, addNote, addAttributes, sayEmpty, fail };
}
