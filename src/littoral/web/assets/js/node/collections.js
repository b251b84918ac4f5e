/** The collections of vectors. */

import { facts, make } from "../dom.js";
import { count } from "../format.js";

const STATES = { ok: "good", green: "good", yellow: "warn", grey: "warn" };

export function collectionCards(collections) {
  if (collections.length === 0) return [make("p", { class: "nothing" }, "No collection yet")];
  return collections.map((collection) =>
    make(
      "article", { class: "card", "data-name": collection.name },
      make(
        "header", {},
        make("h3", {}, collection.name),
        make("span", { class: "state", "data-state": STATES[collection.status] ?? "bad" }, collection.status),
      ),
      facts([
        ["Points", count(collection.points_count)],
        ["Indexed vectors", count(collection.indexed_vectors_count)],
        ["Dimension", count(collection.size)],
        ["Distance", collection.distance ?? "–"],
      ]),
    ),
  );
}

/** The collection that `similar` searches: the one its search step uses, or the only one there is. */
export function searchedCollection(pipelines, collections) {
  const step = pipelines?.find(({ name }) => name === "similar")?.steps.find(({ kind }) => kind === "search");
  const used = collections?.find(({ name }) => name === step?.uses);
  return used ?? (collections?.length === 1 ? collections[0] : undefined);
}
