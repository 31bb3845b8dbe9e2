// Search by an image, a title, both, or a product, and see what matches at which threshold.

import { describeStore, request } from "../api.js";
import { element, settled } from "../dom.js";
import { itemPath } from "../product.js";
import { answerTo, attributesOfImage, isPredictable } from "./search/asking.js";
import { productDialog } from "./search/dialog.js";
import { filterPanel, spacePanel } from "./search/filters.js";
import { keepImage, takeImages } from "./search/images.js";
import { Matching } from "./search/matching.js";
import { queryForm } from "./search/query.js";
import { resultGrid } from "./search/results.js";
import { resultSection } from "./search/section.js";
import { addressOf, FEWEST, MOST, searchKey, stateOf } from "./search/state.js";
import { thresholdPanel } from "./search/threshold.js";
import { answerInWords, queryInWords, sampleInWords, takenBy, warningsOf } from "./search/words.js";

export const keys = [
  [["←", "→", "↑", "↓"], "from product to product, where one has the focus"],
  [["Home", "End"], "to the first, to the last"],
  [["Enter"], "search for what is like this product"],
  [["d"], "its details"],
];

export async function show(main, parameters) {
  main.append(element("p", { class: "empty" }, "Loading…"));
  const search = new Search(main, await describeStore());
  search.update(parameters);
  return search;
}

/** Whether there is room for filters beside the results. */
function isWide() {
  return matchMedia("(min-width: 901px)").matches;
}

class Search {
  constructor(main, store) {
    this.store = store;
    this.state = stateOf(new URLSearchParams());
    this.key = null;
    this.answer = null;
    this.asking = new AbortController();
    this.judging = new AbortController();
    this.matching = new Matching(store);
    this.build(main);
    const takesImages = takenBy(store, "image");
    this.stopTaking = takesImages ? takeImages(main, (file) => this.takeImage(file)) : () => {};
  }

  build(main) {
    const go = (changes) => this.go(changes);
    this.query = queryForm({
      change: go, takeImage: (file) => this.takeImage(file),
      takesImages: takenBy(this.store, "image"), takesTitles: takenBy(this.store, "title"),
    });
    this.threshold = thresholdPanel(this.matching, (scores) => this.moveThreshold(scores));
    this.filters = filterPanel(this.store, (where) => go({ where }));
    this.spaces = spacePanel(this.store, (spaces) => go({ spaces }));
    this.grid = resultGrid({
      isList: !this.store.image_column,
      open: (id) => go({ item: id }),
      addressOfProduct: (id) => this.addressOfProduct(id),
    });
    this.found = resultSection(this.grid, {
      toggleMatches: () => go({ onlyMatches: !this.state.onlyMatches }),
      showMore: () => go({ k: Math.min(2 * this.state.k, MOST) }),
      removeFilters: () => go({ where: [] }),
      tryAgain: () => this.search(),
    });
    this.dialog = productDialog({
      addressOfProduct: (id) => this.addressOfProduct(id), closed: () => go({ item: null }),
    });
    main.replaceChildren(
      this.query.node,
      element("div", { class: "search" },
        element("aside", { class: "search-panels", "aria-label": "Threshold and filters" },
          this.threshold.node,
          element("details", { class: "search-more", open: isWide() },
            element("summary", { class: "small" }, "Filters and spaces"), this.filters.node, this.spaces.node)),
        this.found.node));
  }

  leave() {
    this.asking.abort();
    this.judging.abort();
    this.threshold.leave();
    this.stopTaking();
    this.dialog.close();
  }

  // Where the address leads.

  go(changes) {
    const next = { ...this.state, ...changes };
    if (changes.title || changes.image) next.id = null;
    if (changes.title !== undefined || changes.image || "id" in changes) next.k = FEWEST;
    location.hash = addressOf(next);
  }

  addressOfProduct(id) {
    return addressOf({ ...this.state, id, title: "", image: null, item: null, k: FEWEST });
  }

  takeImage(file) {
    if (!file) return this.fail(new Error("That is no image: choose or drop a JPEG, PNG, WebP or the like."));
    this.go({ image: keepImage(file) });
  }

  /** The threshold changes at once; the address follows without a step of its own. */
  moveThreshold(scores) {
    this.matching.move(scores);
    this.state = { ...this.state, thresholds: this.matching.moved };
    this.judging.abort();
    this.mark();
    this.threshold.update();
    this.settleThreshold();
  }

  settleThreshold = settled(250, () => {
    if (this.asking.signal.aborted) return; // the view was left
    if (location.hash.startsWith("#/search") || location.hash === "") {
      history.replaceState(history.state, "", addressOf(this.state));
    }
    this.grid.readdress();
    this.judge();
  });

  update(parameters) {
    const hadFocus = document.activeElement !== document.body;
    this.state = stateOf(parameters);
    this.matching.move(this.state.thresholds);
    this.threshold.update();
    this.filters.update(this.state);
    this.spaces.update(this.state);
    this.query.update(this.state, this.product?.id === this.state.id ? this.product : null);
    const key = searchKey(this.state);
    if (key !== this.key) {
      this.key = key;
      this.search();
    } else {
      this.mark();
      this.judge();
    }
    this.dialog.show(this.state.item ?? null);
    if (hadFocus && document.activeElement === document.body) { // as of a filter that was removed
      this.found.heading.focus({ preventScroll: true });
    }
  }

  // Asking.

  async search() {
    this.asking.abort();
    this.judging.abort();
    this.isAnswered = false;
    this.asking = new AbortController();
    const { signal } = this.asking;
    this.found.node.setAttribute("aria-busy", "true");
    try {
      const thresholds = this.matching.moved;
      const answer = await answerTo({ ...this.state, thresholds }, { signal });
      if (!signal.aborted) await this.take(answer, thresholds, signal);
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    } finally {
      if (!signal.aborted) this.found.node.removeAttribute("aria-busy");
    }
  }

  /** Ask what of the results matches by all of the rule, where scores alone do not say it. */
  async judge() {
    this.judging.abort();
    if (!this.isAnswered || this.answer.isSample || this.matching.isKnown) return;
    this.judging = new AbortController();
    const { signal } = this.judging;
    const thresholds = this.matching.moved;
    const answer = await answerTo({ ...this.state, thresholds }, { signal }).catch(() => null);
    if (!answer || signal.aborted) return; // nobody asked for it: what scores say stays
    this.matching.learn(answer.results, thresholds);
    this.mark();
  }

  async take(answer, thresholds, signal) {
    const wasInGrid = this.grid.node.contains(document.activeElement);
    const { found } = this;
    this.answer = answer;
    this.isAnswered = true;
    this.matching.take(answer, { thresholds, isFiltered: this.state.where.length > 0 });
    this.threshold.update();
    this.product = null;
    found.begin([...warningsOf(this.store), ...(answer.warnings ?? [])]);
    this.grid.show(answer.results);
    const isFull = answer.results.length >= this.state.k && this.state.k < MOST;
    found.more.hidden = !isFull || Boolean(answer.isSample);
    this.mark();
    if (!answer.results.length) found.sayEmpty(this.state);
    if (wasInGrid) found.heading.focus(); // what had it is gone
    this.judge(); // of thresholds that were moved meanwhile
    await this.describeQuery(signal).catch((error) => {
      if (error.name !== "AbortError") found.addNote(error.message);
    });
  }

  /** The clicked product's own title and image; what a head predicts of a given image. */
  async describeQuery(signal) {
    const { id } = this.state;
    if (id) {
      this.product = await request(itemPath(id), { signal });
      this.query.update(this.state, this.product);
      this.say();
    }
    if (isPredictable(this.store, this.state)) {
      const attributes = await attributesOfImage(this.state, { signal });
      if (attributes.length) this.found.addAttributes(attributes);
    }
  }

  // Showing.

  mark() {
    if (!this.answer) return;
    const { heading, only } = this.found;
    only.setAttribute("aria-pressed", this.state.onlyMatches);
    const focused = document.activeElement.closest(".card");
    this.numMatches = this.answer.isSample ? null : this.grid.mark(this.matching, this.state.onlyMatches);
    only.hidden = this.numMatches === null;
    if (focused?.hidden) heading.focus();
    this.say();
  }

  say() {
    const { results, isSample } = this.answer;
    if (isSample) {
      const heading = results.length ? "Start from any product" : "No product";
      return this.found.say(heading, sampleInWords(this.store, results.length));
    }
    const isAll = this.found.more.hidden;
    this.found.say(
      `Nearest to ${queryInWords(this.state, this.product)}`, answerInWords(this.answer, this.numMatches, isAll));
  }

  fail(error) {
    this.answer = null;
    this.found.fail(error);
  }
}
