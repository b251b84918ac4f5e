/** The collections: one is chosen; its points, a search of it, how good its index is, how its points lie. */

import { facts, make } from "../dom.js";
import { count } from "../format.js";
import { watch } from "../watch.js";
import { browsePanel } from "./collections_browse.js";
import { mapPanel } from "./collections_map.js";
import { recallPanel } from "./collections_recall.js";
import { searchPanel } from "./collections_search.js";
import { choice, field, panel, state } from "./panel.js";

const PATH = "/api/collections";
const PERIOD_MS = 5_000;
const STATES = { ok: "good", green: "good", yellow: "warn", grey: "warn" };

export function collectionsPage(area) {
  const shown = panel("collections", "Collections");
  const parts = [browsePanel(), searchPanel(), mapPanel(), recallPanel()];
  area.append(shown.element, ...parts.map(({ element }) => element));
  let name = null;
  let latest = [];

  function put() {
    if (latest.length === 0) {
      shown.put(make("p", { class: "nothing" }, "No collection yet"));
      for (const { element } of parts) element.hidden = true;
      return;
    }
    const wanted = decodeURIComponent(location.hash.slice(1));
    const chosen = latest.find((one) => one.name === wanted) ?? latest[0];
    shown.put(
      make("div", { class: "controls" }, field("Collection", choice({ id: "collection" }, latest.map((one) => [one.name, one.name]), chosen.name)), state(STATES[chosen.status] ?? "bad", chosen.status)),
      facts([
        ["Points", count(chosen.points_count)],
        ["Indexed vectors", count(chosen.indexed_vectors_count)],
        ...vectorFacts(chosen),
        ...anew(chosen.migration),
        ...(chosen.is_spread ? [["Lies on", "several nodes"]] : []),
      ]),
    );
    for (const { element } of parts) element.hidden = false;
    const asked = JSON.stringify([chosen.name, chosen.vectors]);
    if (asked === name) return;
    name = asked;
    for (const part of parts) part.choose(chosen);
  }

  shown.body.addEventListener("input", ({ target }) => target.id === "collection" && (location.hash = encodeURIComponent(target.value)));
  addEventListener("hashchange", put);
  watch(PATH, PERIOD_MS, {
    show: (collections) => {
      latest = collections;
      put();
    },
    fail: (error) => shown.fail(PATH, error),
  });
}

function vectorFacts({ vectors, size, distance }) {
  if (vectors.length === 1 && vectors[0].name === "") {
    const models = vectors[0].models ?? [];
    return [["Dimension", count(size)], ["Distance", distance ?? "–"], ...(models.length ? [["Embeddings of", models.join(", ")]] : [])];
  }
  const told = vectors.map((one) => [`${one.name || "without a name"}: ${count(one.size)}`, one.distance, ...(one.models ?? [])].join(", "));
  return [["Vectors", told.join(" · ")]];
}

/** What is embedded anew, or was and has its way back. */
function anew(migration) {
  if (!migration) return [];
  const { to, state: step, points, done } = migration;
  return [["Embedded anew", step === "flipped" ? `${to}: answers, the one before is kept` : `${to}: ${step}, ${count(done)} of ${count(points)} points`]];
}
