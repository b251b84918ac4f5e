/** Points as a table: id, picture, payload, and a score where there is one. */

import { make, table } from "../dom.js";
import { isPictureUrl } from "../node/picture.js";

const VALUE_CHARACTERS_MAX = 400;

export const hitTable = (hits) => pointTable("Hits, best first", hits, [{ title: "Score", number: true }], ({ score }) => [score.toFixed(4)]);

export const recordTable = (points) => pointTable("Points", points, [], () => []);

function pointTable(title, points, more, cells) {
  if (points.length === 0) return make("p", { class: "nothing" }, "None");
  const hasPictures = points.some(({ payload }) => pictureIn(payload) !== undefined);
  const columns = [{ title: "Point" }, ...more, ...(hasPictures ? [{ title: "Picture" }] : []), { title: "Payload" }];
  const rows = points.map((point) => [make("code", {}, String(point.id)), ...cells(point), ...(hasPictures ? [picture(point)] : []), payload(point)]);
  return make("div", { class: "wide" }, table(title, columns, rows, { class: "points" }));
}

const pictureIn = (payload) => Object.values(payload ?? {}).find(isPictureUrl);

function picture({ id, payload: held }) {
  const url = pictureIn(held);
  return url ? make("img", { src: url, alt: `Picture of point ${id}`, width: 96 }) : "–";
}

function payload({ payload: held }) {
  const pairs = Object.entries(held ?? {}).filter(([, value]) => !isPictureUrl(value));
  if (pairs.length === 0) return "–";
  return make("dl", { class: "payload" }, pairs.map(([key, value]) => make("div", {}, make("dt", {}, key), make("dd", {}, shown(value)))));
}

function shown(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > VALUE_CHARACTERS_MAX ? `${text.slice(0, VALUE_CHARACTERS_MAX)}…` : text;
}
