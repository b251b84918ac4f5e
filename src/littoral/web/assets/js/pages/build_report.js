/** What a model that was made is, and what whole numbers cost and gain beside float32. */

import { facts, make, meter, table } from "../dom.js";
import { bytes, count, milliseconds, multiplyAdds, percent, tensorType } from "../format.js";

const ports = (list) => list.map((port) => `${port.name} ${tensorType(port)}`).join(", ");

export function reportOf(report) {
  return [
    facts([
      ["Name, version", `${report.name} ${report.version}`],
      ["Numbers", report.is_int8 ? "int8" : "float32"],
      ["Takes", ports(report.inputs)],
      ["Gives", ports(report.outputs)],
      ["File", bytes(report.file_bytes)],
      ["Memory, fixed", bytes(report.memory_bytes)],
      ["Layers", count(report.layer_count)],
      ["Multiply-adds", multiplyAdds(report.macs)],
      ["SHA-256", make("code", { title: report.sha256 }, report.sha256.slice(0, 16))],
    ]),
    ...(report.comparison ? compared(report.comparison) : []),
  ];
}

/** As `littoral build --compare` tells it. */
function compared({ feeds, exact, other, outputs, layers, layer_feeds: layerFeeds }) {
  const ratio = (a, b) => `× ${(b / (a || 1)).toFixed(2)}`;
  const row = (title, key, format) => [title, format(exact[key]), format(other[key]), ratio(exact[key], other[key])];
  const sides = table(
    "float32 beside int8", [{ title: "" }, { title: "float32", number: true }, { title: "int8", number: true }, { title: "Ratio", number: true }],
    [row("A call here", "run_ms", milliseconds), row("File", "bytes", bytes), row("Weights", "weights_bytes", bytes), row("Memory", "memory_bytes", bytes)],
  );
  const answers = table(
    "How near the answers are", [{ title: "Output" }, { title: "Cosine", number: true }, { title: "Least", number: true }, { title: "Same largest", number: true }, { title: "Largest error", number: true, less: true }],
    outputs.map((output) => [output.output, output.cosine.toFixed(4), output.cosine_min.toFixed(4), output.top_1 === null ? "–" : percent(output.top_1), `${output.error.toPrecision(3)} of ${output.magnitude.toPrecision(3)}`]),
  );
  return [
    make("h4", {}, `int8 beside float32, on ${feeds} inputs that it was not fitted to`),
    make("div", { class: "quantised-report" }, make("div", { class: "wide" }, sides), make("div", { class: "wide" }, answers)),
    ...(layers.length ? [layerErrors(layers, layerFeeds)] : []),
  ];
}

function layerErrors(layers, feeds) {
  const most = Math.max(...layers.map(({ error }) => error)) || 1;
  const rows = layers.map(({ name, kind, bits, error }) => [name, kind, bits === null ? "float32" : `${bits} bits`, [percent(error), meter(error / most)]]);
  const columns = [{ title: "Layer" }, { title: "Kind", less: true }, { title: "Weights" }, { title: "Error so far", number: true }];
  return make("details", {}, make("summary", {}, `Error of each of ${layers.length} layers, on ${feeds} inputs`), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Error of each layer" }, table("Error of each layer", columns, rows)));
}
