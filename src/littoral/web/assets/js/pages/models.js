/** The models: every version that is known, two of them side by side, and what is in a file. */

import { NodeError, getJson } from "../api.js";
import { make, table } from "../dom.js";
import { bytes, count, milliseconds } from "../format.js";
import { watch } from "../watch.js";
import { examinedPanel } from "./examined.js";
import { badge, panel, state } from "./panel.js";
import { versionsPanel } from "./versions.js";

const PATH = "/api/models";
const PERIOD_MS = 5_000;
const COLUMNS = [
  { title: "Version" }, { title: "State" }, { title: "Engine", less: true }, { title: "File", number: true }, { title: "Memory", number: true, less: true },
  { title: "Runs", number: true }, { title: "Mean of a run", number: true, less: true }, { title: "SHA-256", less: true },
];

export function modelsPage(area) {
  const shown = panel("models", "Models");
  const compared = versionsPanel();
  area.append(shown.element, compared.element, examinedPanel());
  watch(PATH, PERIOD_MS, {
    show: async (models) => {
      try {
        const found = await Promise.all(models.map(({ name }) => getJson(`${PATH}/${encodeURIComponent(name)}/versions`)));
        shown.put(found.length ? found.map(card) : [make("p", { class: "nothing" }, "No model yet")]);
        compared.show(found);
      } catch (error) {
        if (!(error instanceof NodeError)) throw error;
        shown.fail(PATH, error);
      }
    },
    fail: (error) => shown.fail(PATH, error),
  });
}

function card({ name, signatures, versions }) {
  const rows = versions.map((version) => row(version));
  return make(
    "article", { class: "card", "data-key": name, "data-name": name },
    make("header", {}, make("h3", {}, name), badge(signatures ? `signed by ${signatures.threshold} of ${signatures.keys} keys` : "no signature asked for")),
    make("div", { class: "wide" }, table(`Versions of ${name}`, COLUMNS, rows)),
  );
}

function row({ number, state: word, reason, is_serving: isServing, about }) {
  const first = [`${number} `, about ? make("code", {}, about.version) : ""];
  const told = state(word === "READY" ? "good" : "warn", isServing ? "Serves" : word === "READY" ? "Ready" : reason || "Not ready");
  if (!about) return [first, told, "–", "–", "–", "–", "–", "–"];
  return [
    first, told, about.engine, bytes(about.file_bytes), bytes(about.memory_bytes), count(about.runs), milliseconds(about.run_mean_ms),
    make("code", { class: "digest", title: about.sha256 }, about.sha256.slice(0, 12)),
  ];
}
