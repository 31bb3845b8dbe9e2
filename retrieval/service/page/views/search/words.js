// What the search says of itself.

import { count, counted } from "../../dom.js";
import { nameOf } from "../../product.js";

/** Whether any space can be searched by an image, or a title. */
export function takenBy(store, part) {
  return store.spaces.some((space) => space.takes.includes(part));
}

/** What is amiss with the store. That items have no images is nothing amiss where none was encoded. */
export function warningsOf(store) {
  const isOfTitles = !store.image_column && store.spaces.every((space) => space.modality === "text");
  return store.warnings.filter((warning) => !isOfTitles || !warning.startsWith("items have no images"));
}

export function sentence(words) {
  return `${words[0].toUpperCase()}${words.slice(1)}.`;
}

/** What some products to begin with are good for. */
export function sampleInWords(store, numProducts) {
  if (!numProducts) return "";
  const ways = ["choose one"];
  if (takenBy(store, "image")) ways.push("choose an image");
  if (takenBy(store, "title")) ways.push("type a title");
  return `${counted(numProducts, "product")} from all over the catalogue. ${sentence(ways.join(", or "))}`;
}

/** How many results there are and match, where they are from, and how long it took. */
export function answerInWords({ results, spaces, seconds }, numMatches, isAll) {
  const parts = [counted(results.length, "result")];
  if (numMatches !== null) parts.push(matchesInWords(numMatches, results.length, isAll));
  if (spaces?.length) parts.push(`in ${spaces.map(({ name }) => name).join(", ")}`);
  if (seconds != null) parts.push(`${Math.max(1, Math.round(1000 * seconds))} ms`);
  return parts.join(" · ");
}

/** Where all that are shown match, more may. */
function matchesInWords(numMatches, numResults, isAll) {
  if (numMatches === 0 || numMatches < numResults) return `${count(numMatches)} of them match`;
  return isAll ? "all of them match" : "all of them match, and more may";
}

/** What is searched for; the product, where it is known by more than its id. */
export function queryInWords({ id, title, image }, product) {
  if (id) return `“${product ? nameOf(product) : id}”`;
  if (image && title) return `your image and “${title}”`;
  return image ? "your image" : `“${title}”`;
}

/** Why nothing was found: items without any of the words, or not to be compared, are left out. */
export function whyNothing({ id, image, title, where }) {
  const isCompared = Boolean(id || image);
  if (!where.length) return isCompared ? "The store has nothing to compare this with." : "No title has any of these words.";
  const also = isCompared ? " and can be compared with this" : title ? " and any of these words" : "";
  return `No item has all the values of the filters${also}.`;
}
