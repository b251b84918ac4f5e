/** The pictures a search found, best first. */

import { make, meter } from "../dom.js";
import { caption, isPictureUrl } from "./picture.js";

/** List items. distance: the collection's, which says what a score is. */
export function neighbourItems(hits, distance) {
  return hits.map((hit, i) => make("li", { "data-id": hit.id }, picture(hit), score(hit, i), bar(hit, distance), origin(hit)));
}

function picture({ id, payload }) {
  const shown = isPictureUrl(payload?.thumbnail)
    ? make("img", { src: payload.thumbnail, alt: caption({ id, payload }) })
    : "No picture in its payload";
  return make("div", { class: "picture" }, shown);
}

function score(hit, i) {
  return make("p", { class: "score" }, make("span", {}, hit.score.toFixed(4)), make("small", {}, `#${i + 1}`));
}

/** A cosine has a whole, other distances have none. */
function bar({ score: value }, distance) {
  return distance === "Cosine" ? meter(value) : null;
}

function origin({ id, payload }) {
  const { source, seconds } = payload ?? {};
  return make(
    "p", { class: "hint" },
    make("span", {}, typeof source === "string" ? source : `point ${id}`),
    typeof seconds === "number" ? make("span", {}, `${seconds.toFixed(2)} s`) : null,
  );
}
