// What the service is asked for, by what the address says.

import { request, withParameters } from "../../api.js";
import { imageCalled } from "./images.js";
import { isAsked, thresholdTexts } from "./state.js";

/** The answer to a search, or some products to begin with where nothing is searched for. */
export async function answerTo(state, options) {
  return isAsked(state) ? nearest(state, options) : sample(state, options);
}

/** What is nearest, judged by the thresholds that people have moved. */
async function nearest(state, options) {
  const { id, title, k, where, spaces: space, image, weight } = state;
  const threshold = thresholdTexts(state.thresholds);
  if (!image) return request(withParameters("/search", { id, title, k, where, space, threshold }), options);
  const given = imageCalled(image);
  if (!given) throw new Error("The image of this address was only in that page's memory: choose it again.");
  const body = formOf({ image: given.file, title, k, where, space, threshold, image_weight: title ? weight : null });
  return request("/search", { ...options, method: "POST", body });
}

async function sample({ where, k }, options) {
  const { items } = await request(withParameters("/items", { where, limit: k }), options);
  return { results: items, isSample: true, warnings: [] };
}

/** Whether the image that is searched by, with the title beside it, is all that a head predicts attributes from. */
export function isPredictable({ attributes_take: taken }, { image, title }) {
  const given = { image, title };
  return Boolean(image) && taken.length > 0 && taken.every((part) => given[part]);
}

/** What a head predicts of the image that is searched by. */
export async function attributesOfImage({ image, title }, options) {
  const body = formOf({ image: imageCalled(image).file, title });
  return (await request("/attributes", { ...options, method: "POST", body })).attributes;
}

/** A form, in which a list is repeated, and null or "" is left out. */
function formOf(parameters) {
  const form = new FormData();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) if (one != null && one !== "") form.append(name, one);
  }
  return form;
}
