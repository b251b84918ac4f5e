/** Versions run on the same input: how long a call takes on this machine, and what each answers. */

import { NodeError, getJson, postFile } from "../api.js";
import { facts, make, table } from "../dom.js";
import { milliseconds } from "../format.js";
import { failure, field, fileDrop, refill, said } from "./panel.js";

const PATH = "/api/compared";

/** `wanted()`: the versions that are chosen, `[{key, wanted}]`. */
export function runPanel(wanted) {
  const status = said();
  const through = make("select", { id: "run-through" });
  const run = make("button", { id: "run-noise", class: "button", type: "button", onclick: () => ask(null) }, "Run on noise");
  const drop = fileDrop("run-file", { action: "Choose an input", hint: "or drop one: .npz, .npy, or a file for a pipeline's agents", accept: null, take: ask });
  const result = make("div", { id: "run-result", "aria-live": "polite" });
  const element = make("section", { class: "run", "aria-labelledby": "run-title" }, make("h3", { id: "run-title" }, "On an input"), make("div", { class: "controls" }, field("Input made by", through), run, status), drop, result);
  offer([]);
  getJson("/api/builds").then(({ through: names }) => offer(names), (error) => {
    if (!(error instanceof NodeError)) throw error; // what may not be asked is told when it is
  });

  function offer(names) {
    refill(through, [["", "the file itself"], ...names.map((name) => [name, `agents of ${name}`])]);
  }

  async function ask(file) {
    const sides = wanted();
    status.textContent = "Running…";
    const query = new URLSearchParams({ one: sides[0].wanted, ...(sides[1] ? { other: sides[1].wanted } : {}), ...(file ? { file: file.name, through: through.value } : {}) });
    try {
      const found = await postFile(`${PATH}?${query}`, file ?? "");
      result.replaceChildren(...view(found, sides.map(({ key }) => key)));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      result.replaceChildren(failure("Not run", error.message));
    }
    status.textContent = "";
  }
  return { element, forget: () => result.replaceChildren() };
}

function view({ input, sides, agreement }, names) {
  const calls = sides.map(({ run_ms: ms, calls: number }, i) => [`${names[i]}, a call`, [milliseconds(ms), make("small", {}, ` median of ${number}`)]]);
  const near = (agreement ?? []).map(({ output, cosine, error, magnitude }) => [`Nearness of ${output}`, [`cosine ${cosine.toFixed(4)}`, make("small", {}, ` largest error ${error.toPrecision(3)} of ${magnitude.toPrecision(3)}`)]]);
  const rows = sides.flatMap(({ outputs }, i) => outputs.map((output) => [names[i], output.name, shape(output), largest(output), make("code", {}, numbers(output))]));
  return [
    make("p", { class: "hint" }, `Input: ${input}${sides.length > 1 && !agreement ? ". Their outputs have other shapes, so nearness is not told" : ""}`),
    facts([...calls, ...near]),
    make("div", { class: "wide" }, table("Answers", [{ title: "Version" }, { title: "Output" }, { title: "Type", less: true }, { title: "Largest", number: true }, { title: "First numbers" }], rows)),
  ];
}

const shape = ({ dtype, shape: sizes }) => `${dtype}[${sizes.join(", ")}]`;
const largest = ({ largest: at, largest_value: value }) => (at === null ? "–" : `${value.toPrecision(4)} at ${at}`);
const numbers = ({ first }) => first.map((value) => (value === null ? "nan" : Number.isInteger(value) ? String(value) : value.toPrecision(4))).join(" ");
