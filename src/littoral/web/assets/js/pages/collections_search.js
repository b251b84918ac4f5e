/** A search of a collection with a text or a file, by a pipeline that ends in one. */

import { NodeError, getJson, postBytes } from "../api.js";
import { make } from "../dom.js";
import { milliseconds } from "../format.js";
import { choice, failure, field, fileDrop, panel, said } from "./panel.js";
import { hitTable } from "./points.js";

export function searchPanel() {
  let chosen = null;
  const status = said();
  const shown = panel("find", "Search", status);
  const which = make("select", { id: "find-pipeline" });
  const text = make("input", { id: "find-text", type: "search", autocomplete: "off" });
  const form = make("form", { class: "controls", onsubmit: (event) => (event.preventDefault(), ask(text.value)) }, field("By", which), field("Text", text), make("button", { class: "button", type: "submit", id: "find-run" }, "Search"));
  const drop = fileDrop("find-file", { action: "Choose a file", hint: "or drop one, for a pipeline that takes pictures", accept: null, take: (file) => ask(file) });
  const result = make("div", { id: "found", "aria-live": "polite" });

  async function ask(input) {
    status.textContent = "Searching…";
    try {
      const answer = await postBytes(`/pipelines/${encodeURIComponent(which.value)}`, input);
      const { search, cache } = answer.how ?? {};
      result.replaceChildren(hitTable(answer.result));
      status.textContent = [`${answer.result.length} found in ${milliseconds(1000 * answer.time)}`, search?.certified ? "certified" : "", cache ? `from the ${cache} cache` : ""].filter(Boolean).join(" · ");
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      status.textContent = "";
      result.replaceChildren(failure(`\`${which.value}\` did not run`, error.message));
    }
  }

  async function choose({ name }) {
    chosen = name;
    result.replaceChildren();
    status.textContent = "";
    try {
      const pipelines = await getJson("/api/pipelines");
      if (name !== chosen) return;
      const fitting = pipelines.filter(({ takes, steps }) => takes === "bytes" && steps.at(-1)?.kind === "search" && steps.at(-1).uses === name);
      if (fitting.length === 0) {
        shown.put();
        shown.body.replaceChildren(make("p", { class: "nothing" }, "No pipeline takes a text or a picture and ends in a search of this collection."));
        return;
      }
      which.replaceChildren(...choice({}, fitting.map((one) => [one.name, one.name])).childNodes);
      shown.put();
      shown.body.replaceChildren(form, drop, result);
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      shown.fail("/api/pipelines", error);
    }
  }
  return { element: shown.element, choose };
}
