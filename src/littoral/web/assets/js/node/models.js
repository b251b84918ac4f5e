/** The models: what they take and give, what they need, their layers. */

import { facts, make, table } from "../dom.js";
import { bytes, count, multiplyAdds, tensorType } from "../format.js";
import { layerViews } from "./layers.js";

const ENGINES = {
  trusted: "Compiled by this installation: runs without interruption points, at full speed",
  guarded: "From elsewhere: runs with a deadline and limits",
};

/** Cards, made once, and `update(models)` for the figures in them. layersOf(name) resolves to a model's layers. */
export function modelCards(models, layersOf) {
  if (models.length === 0) return { elements: [make("p", { class: "nothing" }, "No model yet")], update() {} };
  const cards = models.map((model) => modelCard(model, layersOf));
  return {
    elements: cards.map(({ element }) => element),
    update: (latest) => latest.forEach((model, i) => cards[i].update(model)),
  };
}

/** What a card is made of: when this changes, cards are made anew. */
export const modelShape = (models) => JSON.stringify(models.map(({ name, version, sha256 }) => [name, version, sha256]));

function modelCard(model, layersOf) {
  const figures = make("div", {}, modelFacts(model));
  const layers = make("div", { class: "layers waiting" });
  layersOf(model.name).then(
    (found) => settle(layers, found.length ? layerViews(found) : [make("p", { class: "nothing" }, "Its file names no layers")]),
    (error) => settle(layers, [make("p", { class: "notice failed" }, error.message)]),
  );
  const element = make(
    "article", { class: "card", "data-name": model.name },
    make(
      "header", {},
      make("h3", {}, model.name),
      make("code", {}, model.version),
      make("span", { class: `badge ${model.engine}` }, model.engine),
      make("code", { class: "digest", title: `SHA-256 ${model.sha256}` }, model.sha256.slice(0, 12)),
    ),
    make("p", { class: "hint" }, ENGINES[model.engine]),
    make("div", { class: "model-body" }, make("div", {}, figures, portTable(model)), layers),
  );
  return { element, update: (latest) => figures.replaceChildren(modelFacts(latest)) };
}

function settle(area, children) {
  area.classList.remove("waiting");
  area.replaceChildren(...children);
}

function modelFacts(model) {
  const { min, max, busy } = model.instances;
  return facts([
    ["Memory, fixed", bytes(model.memory_bytes)],
    ["Weights", bytes(model.weights_bytes)],
    ["Code", bytes(model.code_bytes)],
    ["File", bytes(model.file_bytes)],
    ["Multiply-adds", multiplyAdds(model.macs)],
    ["Layers", count(model.layer_count)],
    ["Instances", [`${busy} busy `, make("small", {}, min === max ? `of ${max}` : `of ${min} to ${max}`)]],
    ["Runs", count(model.runs)],
  ]);
}

function portTable({ inputs, outputs }) {
  const row = (way) => (port) => [port.name, way, make("code", {}, tensorType(port))];
  return table("Inputs and outputs", [{ title: "Tensor" }, { title: "" }, { title: "Type", number: true }], [...inputs.map(row("in")), ...outputs.map(row("out"))], { class: "ports" });
}
