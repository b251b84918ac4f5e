/** How good the index of a collection is: points at random, asked as every search is and by comparison with all. */

import { NodeError, postJson } from "../api.js";
import { facts, make, meter, table } from "../dom.js";
import { milliseconds, percent } from "../format.js";
import { failure, field, panel, said, vectorChoice } from "./panel.js";

export function recallPanel() {
  const status = said();
  const shown = panel("recall", "Recall against exact", status);
  const queries = make("input", { id: "recall-queries", type: "number", min: 1, max: 100, value: 25 });
  const k = make("input", { id: "recall-k", type: "number", min: 1, max: 100, value: 10 });
  const vector = vectorChoice("recall-vector");
  const run = make("button", { id: "recall-run", class: "button", type: "submit" }, "Check");
  const result = make("div", { id: "recall-result", "aria-live": "polite" });
  let collection = null;
  shown.put();
  shown.body.replaceChildren(
    make("form", { class: "controls", onsubmit: (event) => (event.preventDefault(), check()) }, vector.element, field("Points at random", queries), field("Hits of each", k), run),
    result,
  );

  async function check() {
    const { name } = collection;
    run.disabled = true;
    status.textContent = "Asking…";
    try {
      const found = await postJson(`/api/collections/${encodeURIComponent(name)}/recall`, { queries: queries.valueAsNumber, k: k.valueAsNumber, using: vector.using });
      if (name === collection.name) result.replaceChildren(...view(found));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      if (name === collection.name) result.replaceChildren(failure("Not checked", error.message));
    }
    run.disabled = false;
    status.textContent = "";
  }

  return {
    element: shown.element,
    choose(chosen) {
      collection = chosen;
      vector.show(chosen.vectors ?? []);
      result.replaceChildren();
    },
  };
}

function view({ queries, k, recall, recall_min: least, worst, search_p50_ms: searchMs, exact_p50_ms: exactMs }) {
  if (recall === null) return [make("p", { class: "nothing" }, "It has no points")];
  const missed = worst.filter((row) => row.recall < 1);
  return [
    facts([
      [`Recall of ${k}, mean of ${queries}`, [percent(recall), meter(recall)]],
      ["The worst", percent(least)],
      ["A search, median", milliseconds(searchMs)],
      ["Comparing with all", milliseconds(exactMs)],
    ]),
    missed.length
      ? table("Points with the lowest recall", [{ title: "Asked with" }, { title: "Recall", number: true }], missed.map((row) => [make("code", {}, String(row.id)), percent(row.recall)]))
      : make("p", { class: "hint" }, "Every search found what a comparison with all points finds."),
  ];
}
