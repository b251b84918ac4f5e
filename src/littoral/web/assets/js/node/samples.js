/** Pictures of the collection to try a search with. */

import { postJson } from "../api.js";
import { make } from "../dom.js";
import { caption, isPictureUrl, pictureOfUrl } from "./picture.js";

const SAMPLES = 6;
const SCROLLED_MAX = 1000;

/** Points spread over a collection and its sources: `[{id, payload}]`, at most six. Raises NodeError. */
export async function readSamples(collection) {
  const path = `/collections/${encodeURIComponent(collection)}/points`;
  const known = await postJson(`${path}/scroll`, { limit: SCROLLED_MAX, with_payload: ["source", "seconds"] });
  const ids = spread(known.result.points, SAMPLES).map(({ id }) => id);
  if (ids.length === 0) return [];
  const { result } = await postJson(path, { ids, with_payload: true });
  const byId = new Map(result.map((point) => [String(point.id), point]));
  return ids.map((id) => byId.get(String(id))).filter((point) => isPictureUrl(point?.payload?.thumbnail));
}

/** `count` of the points, evenly spaced once they are in order of source and second. */
export function spread(points, count) {
  const place = ({ payload }) => [String(payload?.source ?? ""), payload?.seconds ?? 0];
  const ordered = points.toSorted((a, b) => {
    const [[source, seconds], [otherSource, otherSeconds]] = [place(a), place(b)];
    return source === otherSource ? seconds - otherSeconds : source < otherSource ? -1 : 1;
  });
  const chosen = Math.min(count, ordered.length);
  return Array.from({ length: chosen }, (_, i) => ordered[Math.floor(((i + 0.5) * ordered.length) / chosen)]);
}

/** Fills `area` with the points as buttons; `take(picture)` gets the one that is pressed. */
export function showSamples(area, points, take) {
  const buttons = points.map((point) => {
    const label = caption(point);
    const press = () => take(pictureOfUrl(point.payload.thumbnail, label));
    const image = make("img", { src: point.payload.thumbnail, alt: "" });
    return make("li", {}, make("button", { type: "button", "aria-label": `Search with ${label}`, title: label, onclick: press }, image));
  });
  area.querySelector("ul").replaceChildren(...buttons);
  area.hidden = buttons.length === 0;
}
