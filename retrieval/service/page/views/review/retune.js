// Tuning the threshold again with what was decided: before and after, and the pairs that change.

import { forgetStore, post } from "../../api.js";
import { count, counted, element, figure } from "../../dom.js";
import { titleOf } from "./pair.js";

/**
 * The panel: `count(decisions)` says how many there are.
 *
 * `by` names who asks, `ready` is a promise that all answers are kept, `accepted` is called when
 * another threshold is served.
 */
export function retunePanel({ by, ready, signal, accepted }) {
  const button = element("button", { class: "button", type: "button", disabled: true, onclick: () => retune() }, "Re-tune");
  const told = element("p", { class: "small muted", role: "status" });
  const outcome = element("div", { class: "retune-outcome" });
  const node = element("section", { class: "retune", "aria-labelledby": "retune-heading" },
    element("h2", { id: "retune-heading", tabindex: -1 }, "Re-tune the threshold"),
    element("p", { class: "small muted" }, "All decisions are used; they go before labels. Nothing changes until you accept it."),
    element("div", { class: "row" }, button, told),
    outcome);

  async function retune() {
    button.disabled = true;
    outcome.replaceChildren();
    told.textContent = "Tuning …";
    try {
      await ready();
      const found = await tuned();
      told.textContent = "";
      outcome.replaceChildren(...outcomeNodes(found, accept));
      node.querySelector("h2").focus({ preventScroll: true });
      outcome.scrollIntoView({ block: "nearest" });
      button.disabled = false;
    } catch (error) {
      button.disabled = false;
      if (signal.aborted) return;
      told.replaceChildren(element("span", { class: "fault" }, error.message));
      if (document.activeElement === document.body) button.focus(); // which it lost when it was disabled
    }
  }

  async function tuned() {
    for (;;) {
      const found = await post("/review/retune", { by: by() }, { signal });
      if (found.ready) return found;
      told.textContent = `Tuning … ${Math.round(100 * found.progress)} %`;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  async function accept(token) {
    try {
      const { path } = await post("/review/accept", { token });
      forgetStore();
      outcome.replaceChildren();
      told.textContent = `The new threshold is served, and kept in ${path}; the old one lies beside it.`;
      node.querySelector("h2").focus({ preventScroll: true }); // the button that had it is gone
      accepted();
    } catch (error) {
      told.replaceChildren(element("span", { class: "fault" }, error.message));
    }
  }

  return {
    node,
    count(decisions) {
      button.disabled = decisions === 0;
      button.textContent = decisions ? `Re-tune with ${counted(decisions, "decision")}` : "Re-tune";
    },
  };
}

function outcomeNodes(found, accept) {
  const { before, after, changes, num_changed: numChanged } = found;
  return [
    element("table", { class: "retune-table" },
      element("caption", { class: "visually-hidden" }, "The threshold that is served, and the new one"),
      element("thead", {}, element("tr", {}, element("td", {}),
        ["before", "after"].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, rowsOf(found, before, after).map(([name, ...values]) => element("tr", {},
        element("th", { scope: "row" }, name), values.map((value) => element("td", { class: "number" }, value)))))),
    found.is_labelled && element("p", { class: "small muted" },
      `After: ${after.protocol}. Before: the threshold as it is served; where it was tuned on these rows, that is optimistic.`),
    !found.is_labelled && element("p", { class: "note" },
      "No column says which items are the same: these figures are of the decided pairs alone, which are doubtful ones."),
    element("div", { class: "row" },
      found.is_other
        ? element("button", { class: "button primary", type: "button", onclick: () => accept(found.token) }, "Accept the new threshold")
        : element("p", { class: "retune-same" }, `${stayedInWords(after)}: there is nothing to accept.`),
      element("span", { class: "small muted" }, `${counted(found.num_decisions_used, "decision")} used, ${
        counted(numChanged, "pair changes side", "pairs change sides")}`)),
    changes.length > 0 && element("details", { class: "retune-changes" },
      element("summary", { class: "small" }, changes.length < numChanged
        ? `The first ${count(changes.length)} of the pairs that change sides` : "The pairs that change sides"),
      element("ul", {}, changes.map(changeNode))),
  ].filter(Boolean);
}

function stayedInWords({ score_threshold: score }) {
  return score == null ? "The thresholds stay as they are" : `The threshold stays at ${figure(score)}`;
}

function rowsOf({ is_labelled: isLabelled }, before, after) {
  const both = (value) => [value(before), value(after)];
  const rows = [];
  if (after.score_threshold != null) {
    rows.push(["threshold: score", ...both((one) => figure(one.score_threshold))]);
    rows.push(["threshold: distance", ...both((one) => figure(one.distance_threshold))]);
  }
  for (const name of Object.keys(after.score_thresholds)) {
    rows.push([`threshold: ${name}`, ...both((one) => figure(one.score_thresholds[name]))]);
  }
  if (isLabelled) {
    rows.push(["row F1", ...both((one) => figure(one.row_f1))]);
    rows.push(["95 % interval", ...both((one) => one.interval ? one.interval.map(figure).join(" – ") : "–")]);
    rows.push(["precision", ...both((one) => figure(one.precision))]);
    rows.push(["recall", ...both((one) => figure(one.recall))]);
  }
  rows.push(["F1 of pairs", ...both((one) => figure(one.pair_f1))]);
  rows.push(["pairs that match", ...both((one) => count(one.num_matches))]);
  return rows;
}

function changeNode({ first, second, score, is_match: isMatch }) {
  const image = (item) => item.image ? element("img", { src: item.image, alt: "", loading: "lazy" }) : null;
  return element("li", { class: "retune-change" },
    element("span", { class: "retune-images" }, image(first), image(second)),
    element("span", {}, `${titleOf(first)} – ${titleOf(second)}`),
    element("span", { class: "small number" }, `${figure(score)} · ${isMatch ? "a match now" : "no match any more"}`));
}
