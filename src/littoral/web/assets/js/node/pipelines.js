/** The pipelines: their steps, the types on the edges, what each step takes. */

import { make, prose } from "../dom.js";
import { milliseconds } from "../format.js";
import { tintOf } from "./stages.js";

/** Cards, made once, and `update(pipelines)` for the figures in them. */
export function pipelineCards(pipelines) {
  if (pipelines.length === 0) return { elements: [make("p", { class: "nothing" }, "No pipeline yet")], update() {} };
  const cards = pipelines.map(pipelineCard);
  return {
    elements: cards.map(({ element }) => element),
    update: (latest) => latest.forEach((pipeline, i) => cards[i].update(pipeline)),
  };
}

/** What a card is made of: when this changes, cards are made anew. */
export const pipelineShape = (pipelines) => JSON.stringify(pipelines.map(({ name, takes, steps }) => [name, takes, steps]));

function pipelineCard({ name, gives, steps, stages }) {
  const times = steps.map(() => make("span"));
  const items = steps.map((step, i) =>
    make(
      "li", {},
      edge(step.takes),
      make("div", { class: `step tint-${tintOf(i)}` }, make("strong", {}, step.name), make("span", { class: "hint" }, step.kind, times[i]), sources(steps, i)),
    ),
  );
  const update = (latest) => stepTimes(latest).forEach((text, i) => (times[i].textContent = text));
  update({ steps, stages });
  const element = make(
    "article", { class: "card", "data-name": name },
    make("header", {}, make("h3", {}, name), make("code", {}, `POST /pipelines/${name}`)),
    make("ol", { class: "flow", "aria-label": `Steps of ${name}` }, items, make("li", {}, make("span", { class: "unseen" }, "gives "), edge(gives, "edge last"))),
  );
  return { element, update };
}

/** Where a step gets its input, unless that is the step before it. */
function sources(steps, i) {
  const before = [i ? steps[i - 1].name : "input"];
  const from = steps[i].sources ?? before;
  return from.join() === before.join() ? null : make("span", { class: "hint" }, `of ${from.join(", ")}`);
}

/** A type as lines: one tensor as its name, then dtype and shape; several each on a line. */
function edge(type, kind = "edge") {
  const tensors = type.split(/, (?=`)/);
  const lines = tensors.length === 1 ? type.split(/(?<=`) /) : tensors;
  return make("div", { class: tensors.length > 1 ? `${kind} several` : kind }, lines.map((line) => make("span", {}, prose(line))));
}

/** Medians by step: stages are in the order of the steps, under names that are unique. */
function stepTimes({ steps, stages }) {
  const times = Object.values(stages);
  return steps.map((_, i) => (times.length === steps.length ? ` · ${milliseconds(times[i].p50_ms)}` : ""));
}
