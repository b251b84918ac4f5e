/** What a node runs of its fleet, how the newest deployment does, and the way back. Not there for a node in no fleet. */

import { NodeError, sendJson } from "../api.js";
import { facts, make, table } from "../dom.js";
import { timeOfDay } from "../format.js";
import { watch } from "../watch.js";
import { failure, panel, said, state } from "./panel.js";

const PATH = "/api/updates";
const PERIOD_MS = 5_000;
const KINDS = { settled: "good", active: "good", refused: "bad", rolled_back: "bad" };
const COLUMNS = [{ title: "Deployment", number: true }, { title: "Ended" }, { title: "At" }, { title: "Why" }];
const BOARDS = "/api/dashboards";
const BOARD_COLUMNS = [{ title: "Dashboard" }, { title: "Title" }, { title: "Version", number: true }, { title: "Panels" }, { title: "Bytes", number: true, less: true }];
const SHOWN = 8;

/** after: the element that it stands behind. */
export function updatesPanel(after) {
  const status = said();
  const shown = panel("updates", "Updates", status);
  let isSure = false;
  let refused = null;
  let boards = [];
  let reads = null;
  const reading = watch(PATH, PERIOD_MS, {
    show: (told) => {
      if (!told.updates) return;
      if (!shown.element.isConnected) after.after(shown.element);
      reads ??= watch(BOARDS, PERIOD_MS, { show: ({ dashboards }) => (boards = dashboards), fail: () => (boards = []) });
      shown.put(refused && failure("Not done", refused), view(told, isSure), boardsTable(boards));
    },
    fail: (error) => shown.fail(PATH, error),
  });

  async function ask(way) {
    status.textContent = "Working…";
    refused = null;
    try {
      await sendJson("POST", `${PATH}/${way}`, {});
      status.textContent = way === "back" ? "The deployment before serves" : "Asked";
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      refused = error.message;
      status.textContent = "";
    }
    await reading.refresh();
  }

  shown.body.addEventListener("click", async ({ target }) => {
    const way = target.closest("button[data-way]")?.dataset.way;
    if (!way) return;
    isSure = way === "ask-back";
    if (way === "now" || way === "back") await ask(way);
    else await reading.refresh();
  });
}

function view(told, isSure) {
  const { running } = told;
  const targets = Object.entries(running.targets ?? {});
  return [
    make(
      "div", { class: "actions", "data-key": "actions" },
      state(KINDS[told.state] ?? "waiting", told.deployment ? `Deployment ${told.deployment}: ${told.state.replace("_", " ")}` : "Nothing was told yet"),
      ...buttons(told, isSure),
    ),
    told.problem ? make("p", { class: "hint", "data-key": "problem" }, told.gate ? `${told.gate}: ${told.problem}` : told.problem) : null,
    facts([
      ["Serves", running.deployment ? `deployment ${running.deployment}` : "none"],
      ["Fleet", make("code", {}, told.orchestrator || "by folder alone")],
      ["Name there", told.enrolled ? told.node : `${told.node}, not enrolled yet`],
      ["Heard", told.heard_at ? timeOfDay(told.heard_at) : "never"],
      ...targets.map(([role, target]) => [role, make("code", {}, target)]),
    ]),
    told.history.length ? make("div", { class: "wide", "data-key": "history" }, table("Deployments that ended", COLUMNS, told.history.slice(0, SHOWN).map(row))) : null,
  ];
}

function boardsTable(boards) {
  if (!boards.length) return null;
  const rows = boards.map(({ name, title, version, panels, bytes, problem }) => [
    make("a", { href: `${BOARDS}/${name}`, download: `${name}.json` }, name),
    problem || title,
    version,
    panels.map((panel) => panel.title || panel.type).join(", "),
    bytes,
  ]);
  return make("div", { class: "wide", "data-key": "boards" }, table("Dashboards of the fleet", BOARD_COLUMNS, rows));
}

function buttons(told, isSure) {
  const button = (way, text, kind) => make("button", { class: `button small ${kind}`, type: "button", "data-way": way }, text);
  if (isSure) return [button("back", "Go back", "danger"), button("keep", "Leave it", "quiet")];
  const now = told.orchestrator ? [button("now", "Ask now", "quiet")] : [];
  return told.back === null ? now : [...now, button("ask-back", `Back to deployment ${told.back}`, "quiet")];
}

const row = ({ deployment, state: word, at, gate, problem }) => [deployment, state(KINDS[word] ?? "waiting", word.replace("_", " ")), timeOfDay(at), gate ? `${gate}: ${problem}` : ""];
