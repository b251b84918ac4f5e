/** The models: every version that is known, two of them side by side, what is in a file, and versions made of it. */

import { NodeError, getJson, sendJson } from "../api.js";
import { make, table } from "../dom.js";
import { bytes, count, milliseconds } from "../format.js";
import { watch } from "../watch.js";
import { buildsPanel } from "./builds.js";
import { loading } from "./builds_load.js";
import { examinedPanel } from "./examined.js";
import { badge, failure, panel, said, state } from "./panel.js";
import { updatesPanel } from "./updates.js";
import { versionsPanel } from "./versions.js";

const PATH = "/api/models";
const BUILDS = "/api/builds";
const PERIOD_MS = 5_000;
const COLUMNS = [
  { title: "Version" }, { title: "State" }, { title: "Engine", less: true }, { title: "File", number: true }, { title: "Memory", number: true, less: true },
  { title: "Runs", number: true }, { title: "Mean of a run", number: true, less: true }, { title: "SHA-256", less: true },
];
const WAYS = {
  back: { sure: "Go back", path: (name) => `${PATH}/${name}/back`, body: undefined },
  unload: { sure: "Unload it", path: (name) => `/v2/repository/models/${name}/unload`, body: {} },
  remove: { sure: "Take it out of the site file", method: "DELETE", path: (name) => `${PATH}/${name}`, body: undefined },
  load: { path: (name) => `/v2/repository/models/${name}/load`, body: {} },
};

export function modelsPage(area) {
  const status = said();
  const shown = panel("models", "Models", status);
  const compared = versionsPanel();
  const making = said();
  const builds = buildsPanel({
    shown: panel("builds", "Make a version", making), status: making, path: BUILDS, follow: `${BUILDS}?follow=1`, nothing: "No file yet: drop a model above.",
    ending: loading(() => reading.refresh()), changed: (found) => compared.showBuilds(found),
  });
  area.append(shown.element, compared.element, examinedPanel((build) => builds.take(build)), builds.element);
  updatesPanel(shown.element);
  let asked = null; // what is to be done with which model, if it is meant so
  let refused = null;
  let latest = null;

  const put = () => latest && shown.put(refused && failure("Not done", refused), latest.length ? latest.map((model) => card(model, asked)) : make("p", { class: "nothing" }, "No model yet"));

  const reading = watch(PATH, PERIOD_MS, {
    show: async (models) => {
      try {
        latest = await Promise.all(models.map(({ name }) => getJson(`${PATH}/${encodeURIComponent(name)}/versions`)));
        put();
        compared.show(latest);
        builds.showModels(latest.map(({ name }) => name));
      } catch (error) {
        if (!(error instanceof NodeError)) throw error;
        shown.fail(PATH, error);
      }
    },
    fail: (error) => shown.fail(PATH, error),
  });

  async function run(way, name) {
    const { path, body, method = "POST" } = WAYS[way];
    status.textContent = "Working…";
    try {
      const done = await sendJson(method, path(encodeURIComponent(name)), body);
      status.textContent = told(way, name, done);
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      refused = error.message;
      status.textContent = "";
    }
    await reading.refresh();
  }

  shown.body.addEventListener("click", async ({ target }) => {
    const button = target.closest("button[data-way]");
    if (!button) return;
    const { way, model } = button.dataset;
    const isSure = button.dataset.sure !== undefined || !WAYS[way]?.sure;
    refused = null;
    asked = !isSure ? `${way} ${model}` : null;
    if (isSure && way in WAYS) await run(way, model);
    put();
    shown.body.querySelector(`button[data-model="${CSS.escape(model)}"]`)?.focus();
  });
}

function told(way, name, { number, is_kept: isKept }) {
  if (way === "remove") return `${name}: taken out of the site file`;
  if (way !== "back") return `${name}: ${way === "load" ? "loaded" : "unloaded"}`;
  return `${name}: version ${number} serves${isKept ? "" : ", until the node starts again"}`;
}

function card({ name, signatures, before, versions }, asked) {
  const rows = versions.map((version) => row(version));
  return make(
    "article", { class: "card", "data-key": name, "data-name": name },
    make("header", {}, make("h3", {}, name), badge(signatures ? `signed by ${signatures.threshold} of ${signatures.keys} keys` : "no signature asked for"), make("div", { class: "actions" }, actions(name, before, versions, asked))),
    make("div", { class: "wide" }, table(`Versions of ${name}`, COLUMNS, rows)),
  );
}

function actions(name, before, versions, asked) {
  const button = (way, text, kind, more = {}) => make("button", { class: `button small ${kind}`, type: "button", "data-way": way, "data-model": name, ...more }, text);
  for (const [way, { sure }] of Object.entries(WAYS)) {
    if (asked === `${way} ${name}`) return [button(way, sure, "danger", { "data-sure": "" }), button("keep", "Leave it", "quiet")];
  }
  const isLoaded = versions.some(({ state: word }) => word === "READY");
  const back = isLoaded && before !== null ? [button("back", `Back to version ${before}`, "quiet")] : [];
  return [...back, isLoaded ? button("unload", "Unload", "quiet") : button("load", "Load again", "quiet"), button("remove", "Remove", "quiet")];
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
