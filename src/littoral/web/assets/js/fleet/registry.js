/** The registry: every artifact with its versions, where each is from and where it runs; models made of files that are dropped. */

import { NodeError, getJson, postFile, sendJson } from "../api.js";
import { facts, make, prose, table } from "../dom.js";
import { bytes, count, milliseconds } from "../format.js";
import { buildsPanel } from "../pages/builds.js";
import { badge, failure, field, fileDrop, panel, said, state } from "../pages/panel.js";
import { watch } from "../watch.js";
import { followed } from "./followed.js";
import { EVENTS, ago, targetWord } from "./words.js";

const PATH = "/api/fleet/artifacts";
const UPLOADS = "/api/fleet/uploads";
const PERIOD_MS = 10_000;
const STATES = { published: ["good", "Published"], pending: ["warn", "Waits for signatures"], withdrawn: ["bad", "Withdrawn"] };
const KINDS = { models: "Model", agents: "Agent", sites: "Site file", dashboards: "Dashboard", selftests: "Self-test" };
const COLUMNS = [{ title: "Version" }, { title: "State" }, { title: "Signed", less: true }, { title: "Size", number: true }, { title: "A call", number: true, less: true }, { title: "By", less: true }, { title: "Made", less: true }, { title: "Lineage" }];

export function registryPage(area) {
  const live = state("waiting", "Connecting");
  const status = said();
  const shown = panel("registry", "Registry", live);
  const lineage = panel("lineage", "Lineage");
  const uploads = panel("uploads", "Bring a model", status);
  const drop = fileDrop("upload", { action: "Choose a file", hint: "or drop one: an ONNX model, or a compiled one (.wasm)", accept: ".onnx,.wasm", take });
  area.append(uploads.element, shown.element, lineage.element);
  const told = make("div", { id: "brought" });
  const place = make("div");
  const builds = buildsPanel({
    shown: inside(uploads, place), status, path: UPLOADS, follow: `${UPLOADS}?follow=1`, nothing: "No file yet.",
    form: { action: "Compile and register", isForSite: false }, ending: registered,
  });
  uploads.put();
  uploads.body.replaceChildren(drop, told, place);
  lineage.put(make("p", { class: "nothing" }, "Choose a version above"));
  let chosen = "";

  async function take(file) {
    told.replaceChildren();
    status.textContent = `Sending ${file.name}, ${bytes(file.size)}…`;
    try {
      const build = await postFile(`${UPLOADS}?file=${encodeURIComponent(file.name)}`, file);
      status.textContent = "";
      if (build.is_kept) builds.take(build);
      else told.replaceChildren(failure(`\`${file.name}\` cannot be used`, (build.examined.problems ?? []).map(({ message }) => message).join("; ")));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      status.textContent = "";
      told.replaceChildren(failure(`\`${file.name}\` was not taken`, error.message));
    }
  }

  const reading = watch(PATH, PERIOD_MS, {
    show: (found) => {
      const artifacts = found;
      shown.put(artifacts.length ? byName(artifacts).map(([key, versions]) => card(key, versions)) : [make("p", { class: "nothing" }, prose("No artifact yet: bring a model above, or `littoral fleet publish`"))]);
      if (chosen) showLineage();
    },
    fail: (error) => shown.fail(PATH, error),
  });
  followed(EVENTS.artifact, () => reading.refresh(), live);

  async function showLineage() {
    try {
      lineage.put(lineageOf(await getJson(`${PATH}/${chosen.replace(/\.\w+$/, "")}`)));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      lineage.fail(PATH, error);
    }
  }

  shown.body.addEventListener("click", async ({ target }) => {
    const button = target.closest("button[data-target]");
    if (!button) return;
    chosen = button.dataset.target;
    await showLineage();
    lineage.element.scrollIntoView({ block: "nearest" });
  });
}

/** A panel's part as `buildsPanel` takes it. */
const inside = ({ element }, body) => ({ element, body, put: () => {} });

function registered({ asked, button, path }) {
  const name = make("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "as in the file" });
  const register = () => asked("It is not registered", () => sendJson("POST", path("/start"), name.value.trim() ? { name: name.value.trim() } : {}));
  return {
    ways: { register },
    elements({ artifact }) {
      if (!artifact) return [field("Name", name), button("register", "Measure and register", "")];
      const { target, state: word, signatures, wanted } = artifact;
      return [
        make("p", { class: "registered" }, "Registered as ", make("code", {}, target), " ", state(...(STATES[word] ?? ["waiting", word]))),
        word === "published" ? make("a", { class: "button", href: `/pages/rollouts?target=${encodeURIComponent(target)}` }, "Roll it out") : make("p", { class: "hint" }, ...prose(`${signatures.length} of ${wanted} signatures: \`littoral fleet sign ${target}\` where the keys are`)),
      ];
    },
  };
}

function byName(artifacts) {
  const named = new Map();
  for (const one of artifacts) {
    const key = `${one.kind}/${one.name}`;
    named.set(key, [...(named.get(key) ?? []), one]);
  }
  return [...named].sort(([a], [b]) => a.localeCompare(b));
}

function card(key, versions) {
  const [kind, name] = key.split("/");
  const rows = [...versions].sort((a, b) => b.version - a.version).map((one) => {
    const made = one.provenance ?? {};
    return [
      count(one.version), state(...(STATES[one.state] ?? ["waiting", one.state])), signedText(one), bytes(one.length), milliseconds(made.figures?.p50_ms ?? null), one.by || made.made_by || "–", ago(one.at, Date.now() / 1000),
      make("button", { class: "button small quiet", type: "button", "data-target": one.target, "aria-label": `Lineage of ${targetWord(one.target)}` }, "Show"),
    ];
  });
  return make("article", { class: "card", "data-key": key, "data-name": name }, make("header", {}, make("h3", {}, name), badge(KINDS[kind] ?? kind)), make("div", { class: "wide" }, table(`Versions of ${name}`, COLUMNS, rows)));
}

/** Whose keys it is signed with: those of people are counted. */
const signedText = ({ signatures, wanted, state: word }) => (wanted ? `${signatures.length} of ${wanted} keys` : word === "published" ? "by the orchestrator" : "not yet");

const digest = (value) => (value ? make("code", { class: "digest", title: value }, value.slice(0, 16)) : "–");

/** Source → artifact → where it is wanted → where it runs. */
function lineageOf({ target, sha256, length, provenance = {}, signatures, wanted, state: word, lineage: { siblings, groups, rollouts, nodes } }) {
  const step = (title, ...parts) => make("li", {}, make("h3", {}, title), ...parts);
  const names = (list, none) => (list.length ? make("p", {}, list.slice(0, 12).map(targetWord).join(", "), list.length > 12 ? ` and ${count(list.length - 12)} more` : "") : make("p", { class: "hint" }, none));
  const { figures = {} } = provenance;
  return [
    make("p", { class: "link-line" }, make("strong", {}, targetWord(target)), state(...(STATES[word] ?? ["waiting", word]))),
    make(
      "ol", { class: "lineage" },
      step("Source", make("p", {}, "ONNX ", digest(provenance.source_sha256)), make("p", { class: "hint" }, siblings.length ? `also in ${siblings.map(targetWord).join(", ")}` : "in this artifact only"), provenance.calibration_sha256 ? make("p", {}, "Calibrated on ", digest(provenance.calibration_sha256)) : null),
      step("Made", make("p", {}, provenance.compiler ?? "by somebody else"), make("p", { class: "hint" }, [provenance.made_by && `by ${provenance.made_by}`, provenance.made_at].filter(Boolean).join(", ") || "–")),
      step("Artifact", make("p", {}, digest(sha256), ` ${bytes(length)}`), make("p", { class: "hint" }, signedText({ signatures, wanted, state: word }))),
      step("Wanted by", names(groups, "no group"), make("p", { class: "hint" }, rollouts.length ? `rollouts ${rollouts.join(", ")}` : "no rollout")),
      step("Runs on", names(nodes, "no node")),
    ),
    Object.keys(figures).length ? facts(Object.entries(figures).map(([name, value]) => figure(name, value))) : null,
  ].filter(Boolean);
}

function figure(name, value) {
  const words = name.replace(/_(ms|bytes)$/, "").replaceAll("_", " ");
  return [words, name.endsWith("_ms") ? milliseconds(value) : name.endsWith("_bytes") ? bytes(value) : count(Math.round(value))];
}
