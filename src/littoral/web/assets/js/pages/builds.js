/** Models that are made here: one card a file, with its form, how far it is, what came out, and where it goes from here. */

import { NodeError, getJson, sendJson } from "../api.js";
import { make } from "../dom.js";
import { listen } from "../events.js";
import { buildForm } from "./build_form.js";
import { reportOf } from "./build_report.js";
import { badge, failure, state } from "./panel.js";

const STATES = {
  new: ["waiting", "Not compiled yet"],
  building: ["warn", "Compiling"],
  made: ["good", "Made"],
  failed: ["bad", "Failed"],
  cancelled: ["warn", "Cancelled"],
};

/**
 * Cards in a panel that is `shown`, whose head has `status`. path: of the resource; follow: of its events. form: what `buildForm` takes beside `start`.
 * `ending(card)` makes what stands below the report of a model, `{elements(found), ways}`. `changed(builds)` is called when others are made.
 */
export function buildsPanel({ shown, status, path, follow, nothing: words, form = {}, ending, changed = () => {} }) {
  const nothing = make("p", { class: "nothing" }, words);
  const cards = new Map();
  let models = [];
  let throughs = [];
  shown.put();
  shown.body.replaceChildren(nothing);

  function take(build) {
    if (build.gone) {
      cards.get(build.id)?.element.remove();
      cards.delete(build.id);
    } else {
      if (!cards.has(build.id)) {
        const card = buildCard({ path, form, models: () => models, throughs: () => throughs, ending, say: (text) => (status.textContent = text) });
        cards.set(build.id, card);
        shown.body.prepend(card.element);
      }
      cards.get(build.id).show(build);
    }
    nothing.hidden = cards.size > 0;
    changed([...cards.values()].map((card) => card.build));
  }

  async function read() {
    try {
      const found = await getJson(path);
      throughs = found.through ?? [];
      for (const build of [...found.builds].reverse()) take(build);
      const known = new Set(found.builds.map(({ id }) => id));
      for (const id of [...cards.keys()].filter((id) => !known.has(id))) take({ id, gone: true });
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      shown.body.replaceChildren(failure("No models can be made here", error.message));
      return false;
    }
    return true;
  }

  read().then((isAllowed) => isAllowed && listen(follow, "build", { receive: take, connected: (isConnected) => isConnected && read() }));
  return {
    element: shown.element,
    take,
    showModels(names) {
      if (names.join("\n") === models.join("\n")) return;
      models = names;
      for (const card of cards.values()) card.show(card.build);
    },
  };
}

function buildCard({ path: all, form: formed, models, throughs, ending, say }) {
  const heading = make("header");
  const form = buildForm({ ...formed, models, throughs, start });
  const area = make("div", { class: "build-body" });
  const problem = make("div");
  const element = make("article", { class: "card build" }, heading, problem, area);
  const bar = make("progress", { "aria-label": "How far it is" });
  const stage = make("p", { class: "hint", role: "status" });
  const running = make("div", { class: "running" }, bar, stage, button("cancel", "Cancel"));
  let build = null;
  let shape = null;

  function button(way, text, kind = "quiet") {
    return make("button", { class: `button ${kind}`, type: "button", "data-way": way }, text);
  }

  async function asked(words, work) {
    problem.replaceChildren();
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      problem.replaceChildren(failure(words, error.message));
      return null;
    }
  }

  const end = ending({ models, asked, say, button, path: (rest) => path(rest) });
  const path = (rest) => `${all}/${build.id}${rest}`;

  async function start(order, feeds, upload) {
    await asked(`\`${build.file}\` is not compiled`, async () => {
      if (feeds.length) {
        await sendJson("DELETE", path("/feeds"));
        for (const [i, file] of feeds.entries()) {
          say(`Sending ${file.name}, ${i + 1} of ${feeds.length}…`);
          await upload(path(`/feeds?file=${encodeURIComponent(file.name)}`), file);
        }
      }
      await sendJson("POST", path("/start"), order);
    });
    say("");
  }

  const ways = {
    cancel: () => asked("Not cancelled", () => sendJson("POST", path("/cancel"))),
    forget: () => asked("Not forgotten", () => sendJson("DELETE", path(""))),
    again: () => area.replaceChildren(form.element),
    ...end.ways,
  };
  element.addEventListener("click", ({ target: clicked }) => ways[clicked.closest("button[data-way]")?.dataset.way]?.());

  function show(found) {
    build = found;
    element.dataset.name = found.file;
    element.dataset.state = found.state;
    const [kind, words] = STATES[found.state];
    heading.replaceChildren(
      make("h3", {}, found.file),
      badge(found.kind === "onnx" ? "ONNX model" : "Compiled model"),
      state(kind, found.artifact ? "Registered" : found.loaded ? `Serves as ${found.loaded}` : words),
      make("div", { class: "actions" }, button("forget", "Forget", "quiet small")),
    );
    const now = JSON.stringify([found.state, found.report, found.problem, found.artifact, models()]);
    form.show(found);
    if (found.state === "building") tellProgress(found.progress);
    if (now === shape) return;
    shape = now;
    area.replaceChildren(...body(found));
  }

  function tellProgress(progress) {
    const { stage: name, done, total } = progress ?? { stage: "starting", done: 0, total: 0 };
    if (total > 1) [bar.max, bar.value] = [total, done];
    else bar.removeAttribute("value");
    const text = total > 1 ? `${name}: ${done} of ${total}` : name;
    if (stage.textContent !== text) stage.textContent = text;
  }

  function body(found) {
    if (found.state === "building") return [running];
    if (found.state === "made") return made(found);
    return [...(found.problem ? [failure("It was not made", [found.problem.message, found.problem.hint].filter(Boolean).join(" · hint: "))] : []), form.element];
  }

  function made(found) {
    const again = found.kind === "onnx" ? button("again", "Compile differently") : null;
    return [...reportOf(found.report), make("div", { class: "controls" }, end.elements(found), again)];
  }

  return {
    element,
    show,
    get build() {
      return build;
    },
  };
}
