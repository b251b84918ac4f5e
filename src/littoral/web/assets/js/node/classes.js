/** The most likely classes of a picture. */

import { make, meter } from "../dom.js";
import { percent } from "../format.js";

/** `[{name, score}]` of a `top_k` result, best first. labels: names by index, or null. */
export function classesOf({ outputs }, labels) {
  const scores = outputs.scores.data.flat(Infinity);
  const indices = outputs.indices.data.flat(Infinity);
  return indices.map((index, i) => ({ name: labels?.[index] ?? `class ${index}`, score: scores[i] }));
}

export function classList(classes) {
  const areShares = classes.every(({ score }) => score >= 0 && score <= 1);
  return make(
    "ol", { class: "class-list" },
    classes.map(({ name, score }) =>
      make(
        "li", {},
        make("span", {}, name),
        make("span", {}, areShares ? percent(score) : score.toFixed(2)),
        areShares ? meter(score) : null,
      ),
    ),
  );
}
