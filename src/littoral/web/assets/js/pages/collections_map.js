/** Points of a collection on a plane: along the two directions in which they differ most. */

import { NodeError, getJson, postJson } from "../api.js";
import { draw, make, swatch } from "../dom.js";
import { count, percent } from "../format.js";
import { tintOf } from "../node/stages.js";
import { failure, field, panel, said, vectorChoice } from "./panel.js";
import { recordTable } from "./points.js";

const WIDTH = 600;
const HEIGHT = 380;
const EDGE = 14;
const LABELS_MAX = 8;

export function mapPanel() {
  const status = said();
  const shown = panel("map", "Map of points", status);
  const by = make("input", { id: "map-by", type: "text", autocomplete: "off", spellcheck: "false", list: "map-keys" });
  const keys = make("datalist", { id: "map-keys" });
  const sample = make("input", { id: "map-sample", type: "number", min: 2, max: 1000, value: 500 });
  const vector = vectorChoice("map-vector", () => read());
  const run = make("button", { id: "map-run", class: "button", type: "submit" }, "Draw");
  const result = make("div", { id: "map-result" });
  let collection = null;
  shown.put();
  shown.body.replaceChildren(
    make("form", { class: "controls", onsubmit: (event) => (event.preventDefault(), read()) }, vector.element, field("Points, at most", sample), field("Coloured by", by), keys, run),
    result,
  );

  async function read() {
    const { name } = collection;
    run.disabled = true;
    status.textContent = "Reading…";
    const query = new URLSearchParams({ sample: sample.value, by: by.value.trim(), using: vector.using });
    try {
      const found = await getJson(`/api/collections/${encodeURIComponent(name)}/map?${query}`);
      if (name === collection.name) result.replaceChildren(...view(found, choose));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      if (name === collection.name) result.replaceChildren(failure("Not drawn", error.message));
    }
    run.disabled = false;
    status.textContent = "";
  }

  /** Shows the point beside the map. */
  async function choose(id) {
    const place = result.querySelector(".map-chosen");
    for (const dot of result.querySelectorAll("circle")) dot.classList.toggle("chosen", dot.dataset.id === String(id));
    try {
      const { result: found } = await postJson(`/collections/${encodeURIComponent(collection.name)}/points`, { ids: [id], with_payload: true });
      place.replaceChildren(recordTable(found));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      place.replaceChildren(failure(`Point ${id}`, error.message));
    }
  }

  async function suggest({ name }) {
    try {
      const { result: found } = await postJson(`/collections/${encodeURIComponent(name)}/points/scroll`, { limit: 20, with_payload: true });
      const names = new Set(found.points.flatMap(({ payload }) => Object.entries(payload ?? {}).filter(([, value]) => ["string", "boolean"].includes(typeof value) && String(value).length < 80).map(([key]) => key)));
      keys.replaceChildren(...[...names].map((key) => make("option", { value: key })));
      by.value ||= [...names][0] ?? "";
    } catch (error) {
      if (!(error instanceof NodeError)) throw error; // a name can still be typed
    }
  }

  return {
    element: shown.element,
    async choose(chosen) {
      collection = chosen;
      by.value = "";
      vector.show(chosen.vectors ?? []);
      result.replaceChildren();
      await suggest(chosen);
      if (chosen.points_count && chosen === collection) read();
    },
  };
}

function view({ by, explained, points }, choose) {
  if (points.length === 0) return [make("p", { class: "nothing" }, "It has no points")];
  const labels = labelsOf(points);
  const tints = new Map(labels.map((label, i) => [label, tintOf(i)]));
  const tint = ({ label }) => tints.get(label) ?? "rest";
  const shares = `Across: ${percent(explained[0])} of all differences, up: ${percent(explained[1])}`;
  const legend = make("ul", { class: "legend", "aria-label": "Legend of the map" }, [...labels.map((label) => make("li", {}, swatch(tints.get(label)), label)), points.some(({ label }) => !tints.has(label)) && by ? make("li", {}, swatch("rest"), "others") : null].filter(Boolean));
  const picture = plane(points, tint, `${points.length} points on a plane${by ? `, coloured by ${by}` : ""}. ${shares}`);
  const ids = new Map(points.map(({ id }) => [String(id), id]));
  picture.addEventListener("click", ({ target }) => target.dataset.id !== undefined && choose(ids.get(target.dataset.id)));
  const pick = make("select", { id: "map-point", onchange: () => choose(ids.get(pick.value)) }, points.map(({ id, label }) => make("option", { value: id }, label ? `${id} · ${label}` : String(id))));
  return [
    make("div", { class: "plane" }, picture, make("div", { class: "plane-side" }, make("p", { class: "hint" }, `${count(points.length)} points. ${shares}. Choose one to see it.`), by ? legend : null, field("Point", pick), make("div", { class: "map-chosen", "aria-live": "polite" }))),
  ];
}

function labelsOf(points) {
  const counts = new Map();
  for (const { label } of points) if (label !== null) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1)).slice(0, LABELS_MAX);
}

function plane(points, tint, label) {
  const [across, up] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  const [left, right, low, high] = [Math.min(...across), Math.max(...across), Math.min(...up), Math.max(...up)];
  const scale = Math.min((WIDTH - 2 * EDGE) / (right - left || 1), (HEIGHT - 2 * EDGE) / (high - low || 1));
  const place = ({ x, y }) => ({ cx: WIDTH / 2 + scale * (x - (left + right) / 2), cy: HEIGHT / 2 - scale * (y - (low + high) / 2) });
  const dots = points.map((point) => draw("circle", { class: `tint-${tint(point)}`, r: 4, "data-id": point.id, ...place(point) }, draw("title", {}, point.label ? `${point.id}: ${point.label}` : String(point.id))));
  return draw("svg", { class: "point-map", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, dots);
}
