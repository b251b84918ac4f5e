/** A run of a pipeline with a file, the camera, a text, or tensors as JSON. */

import { NodeError, postBytes, postJson } from "../api.js";
import { make } from "../dom.js";
import { bytes, milliseconds } from "../format.js";
import { stageBar } from "../node/stages.js";
import { cameraInput } from "./camera.js";
import { failure, field, fileDrop, panel, refill, said } from "./panel.js";
import { hitTable } from "./points.js";

const SHOWN_CHARACTERS_MAX = 20_000;
const NUMBERS_MAX = 64;

/** `show(pipelines)` when they are others. */
export function triedPanel() {
  const status = said();
  const shown = panel("tried", "Try it", status);
  const which = make("select", { id: "tried-pipeline", onchange: prepare });
  const takes = make("p", { class: "hint" });
  const text = make("textarea", { id: "tried-text", rows: 4, spellcheck: "false" });
  const run = make("button", { id: "tried-run", class: "button", type: "button", onclick: () => ask(text.value) }, "Run");
  const drop = fileDrop("tried-file", { action: "Choose a file", hint: "or drop one", accept: null, take: (file) => ask(file) });
  const files = make("div", { class: "tried-files" }, drop);
  const camera = cameraInput((file) => ask(file), (isFollowing) => result.setAttribute("aria-live", isFollowing ? "off" : "polite"));
  const result = make("div", { id: "tried-result", "aria-live": "polite" });
  files.append(camera.element);
  let known = [];

  function show(pipelines) {
    known = pipelines;
    if (known.length === 0) {
      shown.put(make("p", { class: "nothing" }, "No pipeline yet"));
      return;
    }
    refill(which, known.map(({ name }) => [name, name]));
    shown.put();
    shown.body.replaceChildren(
      make("div", { class: "controls" }, field("Pipeline", which), takes),
      make("div", { class: "tried" }, make("div", { class: "tried-input" }, field("Input", text), make("div", { class: "actions" }, run)), files),
      result,
    );
    prepare();
  }

  function chosen() {
    return known.find(({ name }) => name === which.value);
  }

  function prepare() {
    const pipeline = chosen();
    const isBytes = pipeline.takes === "bytes";
    takes.textContent = isBytes ? "Takes bytes: a text, or a file" : `Takes ${pipeline.takes.replaceAll("`", "")}, as JSON`;
    files.hidden = !isBytes;
    if (!isBytes) camera.close();
    text.value = isBytes ? "" : template(pipeline.takes);
    result.replaceChildren();
  }

  async function ask(input) {
    const pipeline = chosen();
    status.textContent = input instanceof File ? `Running with ${input.name}, ${bytes(input.size)}…` : "Running…";
    const began = performance.now();
    const path = `/pipelines/${encodeURIComponent(pipeline.name)}`;
    try {
      const answer = pipeline.takes === "bytes" ? await postBytes(path, input) : await postJson(path, parsed(input));
      result.replaceChildren(...view(answer, performance.now() - began));
    } catch (error) {
      if (!(error instanceof NodeError || error instanceof SyntaxError)) throw error;
      result.replaceChildren(failure(`\`${pipeline.name}\` did not run`, error.message));
    }
    status.textContent = "";
  }
  return { element: shown.element, show };
}

function parsed(text) {
  const value = JSON.parse(text);
  return value && "inputs" in value ? value : { inputs: value };
}

/** Zeros of the shapes that are wanted, where these are few. */
function template(takes) {
  const ports = [...takes.matchAll(/`([^`]+)` \w+\[([^\]]*)\]/g)].map(([, name, shape]) => [name, shape.split(", ").filter(Boolean).map((size) => (size === "?" ? 1 : Number(size)))]);
  const inputs = Object.fromEntries(ports.map(([name, shape]) => [name, shape.reduce((a, b) => a * b, 1) > NUMBERS_MAX ? [] : zeros(shape)]));
  return JSON.stringify({ inputs });
}

const zeros = ([size, ...rest]) => (size === undefined ? 0 : Array.from({ length: size }, () => zeros(rest)));

function view({ result, how, time }, roundTripMs) {
  const cache = how?.cache ? make("p", { class: "badge" }, `from the ${how.cache} cache`) : null;
  const isHits = Array.isArray(result);
  const whole = JSON.stringify(result, null, 1);
  const shown = whole.length > SHOWN_CHARACTERS_MAX ? `${whole.slice(0, SHOWN_CHARACTERS_MAX)}\n… ${whole.length - SHOWN_CHARACTERS_MAX} characters more` : whole;
  return [
    make("h3", {}, `Answered in ${milliseconds(1000 * time)}`),
    ...(cache ? [cache] : []),
    ...stageBar(how?.stages ?? {}, 1000 * time, roundTripMs),
    ...(isHits ? [hitTable(result)] : []),
    make("details", { open: !isHits }, make("summary", {}, "As JSON"), make("pre", { class: "json", tabindex: "0", role: "region", "aria-label": "Answer as JSON" }, shown)),
  ];
}
