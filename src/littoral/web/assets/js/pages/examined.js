/** What is in a file: an ONNX model or a Wasm module is sent to the node, read there, and told of. */

import { NodeError, postFile } from "../api.js";
import { facts, make, prose, table } from "../dom.js";
import { bytes, count, multiplyAdds } from "../format.js";
import { failure, fileDrop, panel, said, state, words } from "./panel.js";

const PATH = "/api/builds";
const KINDS = { model: "Compiled model", agent: "Agent", onnx: "ONNX model" };

/** `kept(build)` gets what a version can be made of. */
export function examinedPanel(kept) {
  const status = said();
  const report = make("div", { id: "report", "aria-live": "polite" });
  const shown = panel("examined", "What is in a file?", status);
  shown.body.classList.remove("waiting");
  shown.body.append(
    fileDrop("model-file", { action: "Choose a file", hint: "or drop one: an ONNX model, or a compiled model or agent (.wasm). The node reads it, and keeps it for a while if a version can be made of it.", accept: ".onnx,.wasm", take }),
    report,
  );

  async function take(file) {
    status.textContent = `Reading ${file.name}, ${bytes(file.size)}…`;
    try {
      const build = await postFile(`${PATH}?file=${encodeURIComponent(file.name)}`, file);
      report.replaceChildren(...view(file.name, build.examined));
      if (build.is_kept) kept(build);
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      report.replaceChildren(failure(`\`${file.name}\` was not read`, error.message));
    }
    status.textContent = "";
  }
  return shown.element;
}

function view(name, found) {
  const problems = found.problems.map(({ message, hint }) =>
    make("div", { class: "notice failed" }, make("span", {}, prose(message)), hint ? make("div", { class: "hint" }, "Hint: ", prose(hint)) : null),
  );
  return [
    make(
      "header", { class: "report-head" },
      make("h3", {}, name),
      make("span", { class: "badge" }, KINDS[found.is_a] ?? (found.kind === "wasm" ? "Wasm module" : "File")),
      state(found.is_usable ? "good" : "bad", found.is_usable ? usable(found) : "Cannot be used here"),
    ),
    ...problems,
    facts(known(found)),
    make(
      "dl", { class: "lines" },
      [["Inputs", found.inputs], ["Outputs", found.outputs], ["Tried with", tried(found.tried_with)], ["Needs grants", found.grants], ["Asks of the host", found.imports], ["Signed by", found.signed_by]]
        .filter(([, list]) => list?.length)
        .map(([term, list]) => make("div", {}, make("dt", {}, term), make("dd", {}, list.flatMap((one, i) => [i ? ", " : "", ...(one.includes("`") ? prose(one) : words([one]))])))),
    ),
    ...(found.operators ? [operators(found.operators)] : []),
  ];
}

const usable = ({ is_a: kind }) => (kind === "onnx" ? "Can be compiled, below" : kind === "model" ? "Can be loaded, below" : "Can be used");

const tried = (shapes) => Object.entries(shapes ?? {}).map(([name, shape]) => `\`${name}\` [${shape.join(", ")}]`);

function known(found) {
  return [
    ["Name", found.name || "–"],
    ["Version", found.version],
    ["Producer", found.producer || undefined],
    ["Compiler", found.compiler],
    ["Operator set", found.opset],
    ["Nodes", found.nodes && count(found.nodes)],
    ["File", bytes(found.file_bytes)],
    ["Memory", found.memory_bytes && bytes(found.memory_bytes)],
    ["Weights", found.weights_bytes && bytes(found.weights_bytes)],
    ["Multiply-adds", found.macs && multiplyAdds(found.macs)],
    ["SHA-256", make("code", { title: found.sha256 }, found.sha256.slice(0, 16))],
  ].filter(([, value]) => value !== undefined);
}

function operators(list) {
  const columns = [{ title: "Operator" }, { title: "Nodes", number: true }, { title: "Supported" }];
  const rows = [...list].sort((a, b) => a.is_known - b.is_known).map(({ name, count: number, is_known: isKnown }) => [make("code", {}, name), count(number), isKnown ? "yes" : state("bad", "no")]);
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Operators" }, table("Operators", columns, rows));
}
