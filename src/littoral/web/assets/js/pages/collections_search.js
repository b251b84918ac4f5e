/**
 * A search of a collection with a text or a file: by a pipeline that ends in one, or with the embedding that a pipeline
 * gives, in any of the collection's vectors that has its size.
 */

import { NodeError, getJson, postBytes, postJson } from "../api.js";
import { make } from "../dom.js";
import { milliseconds } from "../format.js";
import { failure, field, fileDrop, panel, refill, said } from "./panel.js";
import { hitTable } from "./points.js";

const LIMIT = 10;

export function searchPanel() {
  let chosen = null;
  let ways = [];
  const status = said();
  const shown = panel("find", "Search", status);
  const which = make("select", { id: "find-pipeline" });
  const text = make("input", { id: "find-text", type: "search", autocomplete: "off" });
  const form = make("form", { class: "controls", onsubmit: (event) => (event.preventDefault(), ask(text.value)) }, field("By", which), field("Text", text), make("button", { class: "button", type: "submit", id: "find-run" }, "Search"));
  const drop = fileDrop("find-file", { action: "Choose a file", hint: "or drop one, for a pipeline that takes pictures", accept: null, take: (file) => ask(file) });
  const result = make("div", { id: "found", "aria-live": "polite" });

  async function ask(input) {
    const way = ways[which.selectedIndex];
    status.textContent = "Searching…";
    try {
      const { hits, ms, how } = await way.search(input);
      const { search, cache } = how ?? {};
      result.replaceChildren(hitTable(hits));
      status.textContent = [`${hits.length} found in ${milliseconds(ms)}`, search?.certified ? "certified" : "", cache ? `from the ${cache} cache` : ""].filter(Boolean).join(" · ");
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      status.textContent = "";
      result.replaceChildren(failure(`\`${way.pipeline}\` did not run`, error.message));
    }
  }

  async function choose(collection) {
    chosen = collection;
    result.replaceChildren();
    status.textContent = "";
    try {
      const pipelines = (await getJson("/api/pipelines")).filter(({ takes }) => takes === "bytes");
      if (collection !== chosen) return;
      ways = waysTo(collection, pipelines);
      shown.put();
      if (ways.length === 0) {
        shown.body.replaceChildren(make("p", { class: "nothing" }, "No pipeline takes a text or a picture and ends in a search of this collection, or in an embedding of its size."));
        return;
      }
      refill(which, ways.map(({ key, title }) => [key, title]));
      shown.body.replaceChildren(form, drop, result);
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      shown.fail("/api/pipelines", error);
    }
  }
  return { element: shown.element, choose };
}

/** `[{key, title, pipeline, search(input)}]`, pipelines that search first. */
function waysTo({ name, vectors = [] }, pipelines) {
  const searching = pipelines.filter(({ steps }) => steps.at(-1)?.kind === "search" && steps.at(-1).uses === name);
  const own = vectors.filter(({ is_multi: isMulti }) => !isMulti);
  const embedding = own.flatMap((vector) => (vector.name === "" && searching.length ? [] : pipelines.filter(({ gives }) => gives.startsWith("`") && sizeOf(gives) === vector.size).map(({ name: pipeline }) => [pipeline, vector.name])));
  return [
    ...searching.map(({ name: pipeline }) => ({ key: pipeline, title: pipeline, pipeline, search: (input) => searched(pipeline, input) })),
    ...embedding.map(([pipeline, using]) => ({ key: `${pipeline} ${using}`, title: using ? `${pipeline}, in ${using}` : pipeline, pipeline, search: (input) => embedded(pipeline, input, name, using) })),
  ];
}

/** Of one row of float32 numbers; null for anything else. */
function sizeOf(gives) {
  const shape = /^`[^`]+` float32\[1, (\d+)\]$/.exec(gives) ?? /^`[^`]+` float32\[(\d+)\]$/.exec(gives);
  return shape ? Number(shape[1]) : null;
}

async function searched(pipeline, input) {
  const { result, how, time } = await postBytes(`/pipelines/${encodeURIComponent(pipeline)}`, input);
  return { hits: result, how, ms: 1000 * time };
}

async function embedded(pipeline, input, collection, using) {
  const { result, time } = await postBytes(`/pipelines/${encodeURIComponent(pipeline)}`, input);
  const [{ data }] = Object.values(result.outputs);
  const query = { query: data.flat(), limit: LIMIT, with_payload: true, ...(using ? { using } : {}) };
  const found = await postJson(`/collections/${encodeURIComponent(collection)}/points/query`, query);
  return { hits: found.result.points, ms: 1000 * (time + found.time) };
}
