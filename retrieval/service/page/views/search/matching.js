// What is a match: thresholds as they were tuned or as the sliders say, applied to results here.
//
// Scores say at once which results reach a threshold. A rule may have more to say (at most so many, only
// up to the gap, …): the service knows it all, and what it has said is kept by the thresholds it was of.

/** The thresholds of a store, as people have moved them. */
export class Matching {
  constructor({ threshold, spaces: all }) {
    this.combine = threshold?.combine ?? "concat";
    const spaces = threshold?.spaces ?? [];
    this.spaces = (threshold ? spaces : all.filter((space) => space.is_searched)).map(({ name }) => name);
    this.searched = this.spaces;
    this.k = threshold?.k ?? Infinity;
    this.isByScore = !threshold?.has_bounds && spaces.length < 2;
    this.isBeyond = false;
    this.said = new Map();
    this.isSeparate = ["union", "intersection"].includes(this.combine) && spaces.length > 1;
    this.tuned = this.isSeparate
      ? Object.fromEntries(spaces.map(({ name, score_threshold: score }) => [name, score]))
      : { combined: threshold?.score_threshold ?? null };
    this.moved = {};
  }

  /** What a slider each is for: spaces, or "combined". */
  get names() {
    return Object.keys(this.tuned);
  }

  get isMoved() {
    return Object.keys(this.moved).length > 0;
  }

  /** The thresholds in force; null where there is none. */
  get scores() {
    return { ...this.tuned, ...this.moved };
  }

  /** Take what the sliders say; a score that is as tuned has not been moved. */
  move(scores) {
    const isOther = ([name, score]) => name in this.tuned && score !== this.tuned[name];
    this.moved = Object.fromEntries(Object.entries(scores).filter(isOther));
  }

  /** Begin with other results, as they were judged by the thresholds that were asked for. */
  take({ results, spaces }, { thresholds, isFiltered }) {
    this.searched = spaces?.map(({ name }) => name) ?? this.spaces;
    this.isBeyond = isFiltered || results.length >= this.k;
    this.said.clear();
    this.learn(results, thresholds);
  }

  /** Keep what the service says of results by some thresholds. */
  learn(results, thresholds) {
    this.said.set(keyOf(thresholds), new Map(results.map((result) => [result.id, result])));
  }

  /**
   * Whether nothing is to be asked: the service has judged by these thresholds, or scores are enough.
   *
   * They are not where the rule has more or chooses from several spaces, where results may be beyond
   * the k that it chooses from, and for the tuned thresholds, which go with people's decisions.
   */
  get isKnown() {
    if (!this.isOfSearched || this.said.has(keyOf(this.moved))) return true;
    return this.isMoved && this.isByScore && !this.isBeyond;
  }

  /** Whether the thresholds are of the spaces that were searched: else they say nothing of results. */
  get isOfSearched() {
    return this.searched.length === this.spaces.length && this.searched.every((name) => this.spaces.includes(name));
  }

  /** Whether a result matches; null where nothing says it. */
  isMatch(result) {
    if (!this.isOfSearched) return null;
    const said = this.saidOf(result);
    if (said) return said.is_match;
    if (!this.isSeparate) return this.scores.combined === null ? null : result.score >= this.scores.combined;
    const agreeing = result.spaces.map((space) => this.agrees(result, space));
    return this.combine === "union" ? agreeing.some(Boolean) : agreeing.every(Boolean);
  }

  /** Whether a space by itself says that a result matches; null where nothing says it. */
  agrees(result, { name, score, agrees }) {
    if (!this.isOfSearched) return null;
    const said = this.saidOf(result)?.spaces.find((space) => space.name === name);
    if (said) return said.agrees;
    const least = this.scores[this.isSeparate ? name : "combined"];
    return score == null || least === null ? agrees : score >= least;
  }

  saidOf({ id }) {
    return this.said.get(keyOf(this.moved))?.get(id);
  }
}

function keyOf(thresholds) {
  return JSON.stringify(Object.entries(thresholds).sort());
}

/** The figures of a curve at the point that is nearest to a threshold. */
export function figuresOnCurve(curve, threshold) {
  const { thresholds } = curve;
  let after = thresholds.findIndex((score) => score >= threshold);
  if (after < 0) after = thresholds.length - 1;
  const before = Math.max(after - 1, 0);
  const isBefore = threshold - thresholds[before] < thresholds[after] - threshold;
  const at = isBefore ? before : after;
  return {
    num_pairs: curve.num_pairs[at],
    row_f1: curve.row_f1?.[at] ?? null,
    precision: curve.precision?.[at] ?? null,
    recall: curve.recall?.[at] ?? null,
  };
}
