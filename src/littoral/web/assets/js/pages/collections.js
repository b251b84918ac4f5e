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
        ...(chosen.vectors.length === 1 && chosen.vectors[0].name === "" ? [["Dimension", count(chosen.size)], ["Distance", chosen.distance ?? "–"]] : [["Vectors", chosen.vectors.map(({ name: vector, size, distance }) => `${vector || "without a name"}: ${count(size)}, ${distance}`).join(" · ")]]),
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
