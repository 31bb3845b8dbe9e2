// What is a match: thresholds as they were tuned or as the sliders say, applied to results here.

/** The thresholds of a store, as people have moved them. */
export class Matching {
  constructor({ threshold, spaces: all }) {
    this.combine = threshold?.combine ?? "concat";
    const spaces = threshold?.spaces ?? [];
    this.spaces = (threshold ? spaces : all.filter((space) => space.is_searched)).map(({ name }) => name);
    this.searched = this.spaces;
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

  /** Whether the thresholds are of the spaces that were searched: else they say nothing of results. */
  get isOfSearched() {
    return this.searched.length === this.spaces.length && this.searched.every((name) => this.spaces.includes(name));
  }

  /** Whether a result matches; null where nothing says it. */
  isMatch(result) {
    if (!this.isOfSearched) return null;
    if (!this.isMoved) return result.is_match;
    if (!this.isSeparate) return result.score >= this.scores.combined;
    const agreeing = this.names.map((name) => this.agrees(result.spaces.find((one) => one.name === name)));
    return this.combine === "union" ? agreeing.some(Boolean) : agreeing.every(Boolean);
  }

  /** Whether a space by itself says that a result matches; null where nothing says it. */
  agrees(space) {
    if (!this.isOfSearched) return null;
    if (space?.score == null) return space?.agrees ?? null;
    const score = this.moved[this.isSeparate ? space.name : "combined"];
    return score === undefined ? space.agrees : space.score >= score;
  }
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
