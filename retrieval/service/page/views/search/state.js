// What is searched for, as the address says it, so that links can be shared and "back" goes back.

export const FEWEST = 24; // results
export const MOST = 200; // that the service gives

/** The state that an address stands for; what makes no sense in it is left out. */
export function stateOf(parameters) {
  return {
    id: parameters.get("id"),
    title: parameters.get("title") ?? "",
    image: parameters.get("image"),
    weight: within(parameters.get("weight"), 0, 1, 0.5),
    k: Math.round(within(parameters.get("k"), 1, MOST, FEWEST)),
    where: parameters.getAll("where").filter((one) => one.indexOf("=") > 0),
    spaces: parameters.getAll("space"),
    thresholds: thresholdsOf(parameters.getAll("t")),
    onlyMatches: parameters.get("only") === "matches",
    item: parameters.get("item"),
  };
}

function within(text, least, most, otherwise) {
  const number = text === null || text === "" ? NaN : Number(text);
  return Number.isFinite(number) ? Math.min(Math.max(number, least), most) : otherwise;
}

/** Scores by the name of their space, or "combined" for one that is of all. */
function thresholdsOf(texts) {
  const scores = {};
  for (const text of texts) {
    const end = text.lastIndexOf("=");
    const score = text.slice(end + 1) === "" ? NaN : Number(text.slice(end + 1));
    if (Number.isFinite(score)) scores[end < 0 ? "combined" : text.slice(0, end)] = score;
  }
  return scores;
}

/** Thresholds as the service takes them. */
export function thresholdTexts(scores) {
  return Object.entries(scores).map(([name, score]) =>
    name === "combined" ? `${score}` : `${name}=${score}`);
}

/** The address of a state, without what is as always. */
export function addressOf(state) {
  const query = new URLSearchParams();
  const put = (name, value) => value && query.append(name, value);
  put("id", state.id);
  put("title", state.title);
  put("image", state.image);
  if (state.image && state.title && state.weight !== 0.5) query.append("weight", state.weight);
  for (const one of state.where) put("where", one);
  for (const one of state.spaces) put("space", one);
  for (const one of thresholdTexts(state.thresholds)) put("t", one);
  if (state.k !== FEWEST) query.append("k", state.k);
  if (state.onlyMatches) query.append("only", "matches");
  put("item", state.item);
  return query.size ? `#/search?${query}` : "#/search";
}

/** What makes two searches the same: all but what only changes how results are shown. */
export function searchKey(state) {
  const { thresholds, onlyMatches, item, ...rest } = state;
  return JSON.stringify(rest);
}

/** Whether anything is searched for at all. */
export function isAsked(state) {
  return Boolean(state.id || state.title || state.image);
}
