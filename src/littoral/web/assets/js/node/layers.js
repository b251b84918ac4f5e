/** The layers of a model: how many multiply-adds each takes, and the rest of it as a table. */

import { draw, make, swatch, table } from "../dom.js";
import { bytes, count, multiplyAdds } from "../format.js";
import { tintOf } from "./stages.js";

const WIDTH = 1000;
const HEIGHT = 100;
const GAP = 0.2;

export function layerViews(layers) {
  const kinds = kindsByWork(layers);
  const tints = new Map(kinds.map((kind, i) => [kind, tintOf(i + 1)]));
  return [
    make("h4", {}, "Multiply-adds by layer, first to last"),
    layerChart(layers, tints),
    make("ul", { class: "legend", "aria-label": "Kinds of layers" }, kinds.map((kind) => make("li", {}, swatch(tints.get(kind)), kind))),
    make("details", {}, make("summary", {}, `All ${layers.length} layers`), layerTable(layers)),
  ];
}

/** Kinds of layers, those with most multiply-adds first. */
function kindsByWork(layers) {
  const sums = new Map();
  for (const { kind, macs } of layers) sums.set(kind, (sums.get(kind) ?? 0) + macs);
  return [...sums.keys()].sort((a, b) => sums.get(b) - sums.get(a));
}

function layerChart(layers, tints) {
  const most = Math.max(1, ...layers.map(({ macs }) => macs));
  const step = WIDTH / layers.length;
  const bars = layers.map(({ name, kind, macs }, i) => {
    const height = Math.max(1, (HEIGHT * macs) / most);
    return draw(
      "rect", { class: `tint-${tints.get(kind)}`, x: i * step, y: HEIGHT - height, width: step * (1 - GAP), height },
      draw("title", {}, `${name} (${kind}): ${multiplyAdds(macs)}`),
    );
  });
  const heaviest = layers.reduce((most, layer) => (layer.macs > most.macs ? layer : most));
  const label = `Multiply-adds of ${layers.length} layers, most in ${heaviest.name}: ${multiplyAdds(heaviest.macs)}`;
  return draw("svg", { class: "layer-chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, bars);
}

function layerTable(layers) {
  const columns = [{ title: "Layer" }, { title: "Kind" }, { title: "Multiply-adds", number: true }, { title: "Weights", number: true }];
  const rows = layers.map(({ name, kind, macs, bytes: size }) => [name, kind, count(macs), bytes(size)]);
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of layers" }, table("Layers", columns, rows));
}
