/** A version in full, and another beside it; both on an input. */

import { make } from "../dom.js";
import { bytes, count, milliseconds, multiplyAdds, tensorType } from "../format.js";
import { morphChildren } from "../morph.js";
import { choice, field, panel, words } from "./panel.js";
import { runPanel } from "./versions_run.js";

const NOTHING = "";
const ports = (list) => list.map((port) => `${port.name} ${tensorType(port)}`).join(", ");
const ROWS = [
  ["Inputs", ({ inputs }) => ports(inputs)],
  ["Outputs", ({ outputs }) => ports(outputs)],
  ["Variants", ({ variants }) => variants.map((key) => Object.entries(key).map(([name, size]) => `${name} ${size}`).join(", ") || "one").join(" · ")],
  ["Operators", ({ kinds }) => Object.entries(kinds).map(([kind, number]) => `${kind} ${number}`).join(", ") || "–"],
  ["Layers", ({ layer_count: layers }) => count(layers)],
  ["Multiply-adds", ({ macs }) => multiplyAdds(macs)],
  ["Memory, fixed", ({ memory_bytes: size }) => bytes(size)],
  ["Weights", ({ weights_bytes: size }) => bytes(size)],
  ["Code", ({ code_bytes: size }) => bytes(size)],
  ["File", ({ file_bytes: size }) => bytes(size)],
  ["Integers", ({ is_int8: isInt8 }) => (isInt8 ? "int8" : "no, float32")],
  ["Target, threads", ({ target, threads }) => `${target}, ${threads}`],
  ["Engine", ({ engine }) => engine ?? "–"],
  ["Mean of a run", ({ run_mean_ms: mean }) => milliseconds(mean)],
  ["Runs, failed", ({ runs, failures }) => (runs === undefined ? "–" : `${count(runs)}, ${count(failures)}`)],
  ["Compiler", ({ compiler }) => compiler],
  ["SHA-256", ({ sha256 }) => sha256],
  ["Made of", ({ source_sha256: sha256 }) => sha256 || "–"],
];

/** `show(models)` gets what `/api/models/{name}/versions` says of each, `showBuilds(builds)` what is made here. */
export function versionsPanel() {
  const shown = panel("versions", "Side by side");
  const run = runPanel(() => chosen.filter((key) => key !== NOTHING).map((key) => ({ key, wanted: known.get(key).wanted })));
  const sides = make("div");
  let open = [];
  let made = [];
  let known = new Map();
  let chosen = [NOTHING, NOTHING];

  function show(models) {
    open = models.flatMap(({ name, versions }) => versions.filter(({ about }) => about).map(({ number, about }) => [`${name} ${number}`, { about, wanted: `${name}@${number}` }]));
    refresh();
  }

  function showBuilds(builds) {
    const files = builds.filter(({ state }) => state === "made");
    made = files.map(({ id, file, report }) => [`${file} (${report.is_int8 ? "int8" : "float32"}, ${report.sha256.slice(0, 6)})`, { about: report, wanted: `build:${id}` }]);
    refresh();
  }

  function refresh() {
    known = new Map([...open, ...made]);
    const keys = [...known.keys()];
    chosen = [known.has(chosen[0]) ? chosen[0] : keys[0] ?? NOTHING, known.has(chosen[1]) ? chosen[1] : NOTHING];
    put();
  }

  function put() {
    if (known.size === 0) {
      shown.put(make("p", { class: "nothing" }, "No version is open"));
      return;
    }
    if (!sides.isConnected) {
      shown.put();
      shown.body.replaceChildren(sides, run.element);
    }
    const options = [...known].map(([key, { about }]) => [key, `${key} (${about.version})`]);
    morphChildren(sides, [
      make(
        "div", { class: "controls" },
        field("Version", choice({ id: "one", "data-side": 0 }, options, chosen[0])),
        field("Beside it", choice({ id: "other", "data-side": 1 }, [[NOTHING, "nothing"], ...options], chosen[1])),
      ),
      make("div", { class: "wide" }, comparison(known.get(chosen[0]).about, known.get(chosen[1])?.about)),
    ]);
  }

  shown.body.addEventListener("input", ({ target }) => {
    if (target.dataset.side === undefined) return;
    chosen[target.dataset.side] = target.value;
    run.forget();
    put();
  });
  return { element: shown.element, show, showBuilds };

  function comparison(one, other) {
    const heads = ["What", chosen[0], ...(other ? [chosen[1], "Differs"] : [])];
    const rows = ROWS.map(([title, told]) => {
      const [first, second] = [told(one), other ? told(other) : null];
      const differs = other && first !== second;
      return make(
        "tr", { class: differs ? "differs" : null },
        make("th", { scope: "row" }, title),
        make("td", {}, shownValue(title, first)),
        other ? make("td", {}, shownValue(title, second)) : null,
        other ? make("td", {}, differs ? "differs" : "") : null,
      );
    });
    return make(
      "table", { class: "compare" },
      make("caption", { class: "unseen" }, "What is in a version"),
      make("thead", {}, make("tr", {}, heads.map((title) => make("th", { scope: "col" }, title)))),
      make("tbody", {}, rows),
    );
  }
}

const shownValue = (title, text) => (["SHA-256", "Made of"].includes(title) ? words([text]) : text);
