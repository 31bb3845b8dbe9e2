// Review: the pairs nearest to the threshold, one after another, with one key each for an answer.

import { describeStore, post, request, untilReady, withParameters } from "../api.js";
import { count, element } from "../dom.js";
import { isTyping } from "../help.js";
import { pairNode, preload, titleOf } from "./review/pair.js";
import { retunePanel } from "./review/retune.js";

const ANSWERS = [
  { decision: "same", key: "s", label: "Same" },
  { decision: "different", key: "d", label: "Different" },
  { decision: "unsure", key: "u", label: "Unsure" },
];
const ASKED = 20;
const FEWEST = 6; // more pairs are asked for before the last ones are shown
const AHEAD = 3; // pairs whose images are loaded before they are shown
const NAME = "reviewer";

export const keys = [
  [["S"], "the two are the same product"],
  [["D"], "they are different"],
  [["U"], "unsure: not asked again, and it counts for nothing"],
  [["Z", "Backspace"], "take back the last answer"],
];

export async function show(main) {
  main.append(element("p", { class: "empty" }, "Loading…"));
  const review = new Review(main, await describeStore());
  if (review.store.threshold) await review.begin();
  else review.close("There is no threshold yet", "Review shows the pairs nearest to the threshold. Look at ",
    element("a", { href: "#/curve" }, "what thresholds give"), ", choose one, and ask whoever runs this service to start it with that.");
  return review;
}

class Review {
  constructor(main, store) {
    this.main = main;
    this.store = store;
    this.pairs = []; // the first one is shown
    this.known = new Set(); // keys of pairs that were asked for or decided here
    this.sent = Promise.resolve(); // answers are sent one after another
    this.asking = null;
    this.browser = crypto.getRandomValues(new Uint32Array(1))[0];
    this.leaving = new AbortController();
    this.build();
    addEventListener("keydown", (event) => this.press(event), { signal: this.leaving.signal });
  }

  build() {
    this.name = element("input", {
      type: "text", id: "review-name", maxlength: 200, autocomplete: "name", value: localStorage.getItem(NAME) ?? "",
      placeholder: this.store.reviewer, onchange: () => localStorage.setItem(NAME, this.name.value.trim()),
    });
    this.progress = element("progress", { "aria-label": "Pairs that were decided", max: 1, value: 0 });
    this.told = element("p", { class: "small muted", id: "review-progress" });
    this.status = element("p", { class: "visually-hidden", role: "status" });
    this.fault = element("p", { class: "fault", role: "alert" });
    this.place = element("section", { class: "review-place", "aria-label": "The pair", "aria-busy": "true" });
    this.buttons = ANSWERS.map(({ decision, key, label }) => element("button", {
      class: `button review-answer review-${decision}`, type: "button", disabled: true,
      "aria-keyshortcuts": key, onclick: () => this.decide(decision),
    }, label, element("kbd", { "aria-hidden": "true" }, key.toUpperCase())));
    this.undoing = element("button", {
      class: "button quiet", type: "button", disabled: !this.store.can_decide, "aria-keyshortcuts": "z Backspace", onclick: () => this.undo(),
    }, "Undo", element("kbd", { "aria-hidden": "true" }, "Z"));
    this.retune = retunePanel({
      by: () => this.by, ready: () => this.sent, signal: this.leaving.signal, accepted: () => this.restart(),
    });
    this.main.replaceChildren(
      element("div", { class: "review-head" },
        element("div", {},
          element("h2", {}, "Are these the same product?"),
          element("p", { class: "muted small" }, "The pairs that are nearest to the threshold come first.")),
        element("label", { class: "field review-who", for: "review-name" }, "Who decides", this.name)),
      element("div", { class: "review-progress" }, this.progress, this.told, this.status),
      this.fault,
      ...(this.store.can_decide ? [] : [element("p", { class: "note" },
        "Decisions can't be kept here: their file or its folder can't be written. Start the service with another --decisions.")]),
      this.place,
      element("div", { class: "review-answers", role: "group", "aria-label": "Your answer" }, this.buttons, this.undoing),
      this.retune.node);
  }

  leave() {
    this.leaving.abort();
  }

  get by() {
    return this.name.value.trim() || this.store.reviewer;
  }

  async begin() {
    try {
      await this.ask();
      this.draw();
    } catch (error) {
      if (this.leaving.signal.aborted) return;
      this.close("There is nothing to review", error.message);
    }
  }

  /** Where no pair can be had there is nothing to answer or to take back, either. */
  close(heading, ...words) {
    this.leave();
    this.main.replaceChildren(element("div", { class: "empty", role: "status" },
      element("h2", {}, heading), element("p", {}, words)));
  }

  /** After a new threshold: other pairs are doubtful. */
  async restart() {
    this.pairs = [];
    this.known.clear();
    this.place.setAttribute("aria-busy", "true");
    await this.begin();
  }

  /** Ask for more pairs; those that are here already, or decided here, are passed over. */
  ask() {
    this.asking ??= this.askNow().finally(() => { this.asking = null; });
    return this.asking;
  }

  async askNow() {
    const path = withParameters("/review/pairs", { limit: ASKED, by: `${this.by} ${this.browser}` });
    const answer = await untilReady(path, {
      signal: this.leaving.signal,
      onProgress: (share) => {
        if (!this.pairs.length) {
          this.place.replaceChildren(element("div", { class: "empty" },
            element("p", {}, "Looking for the pairs nearest to the threshold …"),
            element("progress", { max: 1, value: share, "aria-label": "Looking for pairs" })));
        }
      },
    });
    const fresh = answer.pairs.filter((pair) => !this.known.has(keyOf(pair)));
    for (const pair of fresh) this.known.add(keyOf(pair));
    this.pairs.push(...fresh);
    this.count(answer.progress_of_review);
  }

  count({ num_same: same, num_different: different, num_unsure: unsure, num_left: left }) {
    const decided = same + different + unsure;
    this.progress.max = Math.max(1, decided + (left ?? 0));
    this.progress.value = decided;
    const open = left == null ? "" : `; ${count(left)} of the doubtful ones left`;
    this.told.textContent = `${count(decided)} decided: ${count(same)} same, ${count(different)} different, ${count(unsure)} unsure${open}`;
    this.retune.count(same + different);
  }

  draw() {
    const [pair, ...next] = this.pairs;
    this.place.removeAttribute("aria-busy");
    for (const button of this.buttons) button.disabled = !pair || !this.store.can_decide;
    this.place.replaceChildren(pair ? pairNode(pair, this.store) : element("div", { class: "empty" },
      element("h2", {}, "All doubtful pairs are decided"),
      element("p", {}, "Re-tune the threshold with these decisions: other pairs are doubtful then.")));
    preload(next.slice(0, AHEAD));
  }

  decide(decision) {
    if (!this.store.can_decide) return;
    const pair = this.pairs.shift();
    if (!pair) return;
    const body = { first: pair.first.id, second: pair.second.id, decision, by: this.by };
    this.fault.textContent = "";
    this.say(decision);
    this.draw();
    // The next pair is there at once; what was answered is sent in the order of the answers.
    this.sent = this.sent.then(() => post("/review/decisions", body)).then(
      (progress) => this.count(progress),
      (error) => this.putBack(pair, error));
    if (this.pairs.length < FEWEST) {
      this.sent.then(() => this.ask()).then(() => this.pairs.length && this.place.querySelector(".empty") && this.draw(), () => {});
    }
  }

  putBack(pair, error) {
    if (this.leaving.signal.aborted) return;
    this.pairs.unshift(pair);
    this.fault.textContent = `The answer was not kept: ${error.message}`;
    this.draw();
  }

  async undo() {
    if (!this.store.can_decide) return;
    await this.sent;
    try {
      const { pair, progress_of_review: progress } = await post("/review/undo", { by: this.by });
      this.fault.textContent = "";
      this.count(progress);
      if (!pair) return;
      this.pairs = [pair, ...this.pairs.filter((other) => keyOf(other) !== keyOf(pair))];
      this.known.add(keyOf(pair));
      this.say("taken back");
      this.draw();
    } catch (error) {
      this.fault.textContent = error.message;
    }
  }

  /** What readers of screens are told: the answer, and the pair that is shown now. */
  say(what) {
    const [pair] = this.pairs;
    const now = pair ? `Now: ${titleOf(pair.first)}, and ${titleOf(pair.second)}` : "No pair is left";
    this.status.textContent = `${what[0].toUpperCase()}${what.slice(1)}. ${now}.`;
  }

  press(event) {
    if (isTyping(event) || event.repeat || document.querySelector("dialog[open]")) return;
    const answer = ANSWERS.find(({ key }) => key === event.key.toLowerCase());
    if (answer) this.decide(answer.decision);
    else if (event.key.toLowerCase() === "z" || event.key === "Backspace") this.undo();
    else return;
    event.preventDefault();
  }
}

function keyOf({ first, second }) {
  return JSON.stringify([first.id, second.id].sort());
}
