/** The fleet: every node as a cell by group, those that are chosen as a table, and how many are how. */

import { make, table } from "../dom.js";
import { count } from "../format.js";
import { choice, field, panel, refill, state } from "../pages/panel.js";
import { watch } from "../watch.js";
import { followed } from "./followed.js";
import { EVENTS, LEGEND, ago, byGroup, chosenNodes, isDrifted, labelText, lookOf, nodePath, stateWord, targetWord } from "./words.js";

const PATH = "/api/fleet/nodes";
const PERIOD_MS = 5_000;
const ROWS_MAX = 50;
const COLUMNS = [{ title: "Node" }, { title: "State" }, { title: "Group", less: true }, { title: "Runs", less: true }, { title: "Labels", less: true }, { title: "Deployment", number: true, less: true }, { title: "Seen", number: true }];
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

export function nodesPage(area) {
  const look = choice({ id: "look" }, [["", "any"], ...LEGEND.map(({ key, word }) => [key, word])], "");
  const group = choice({ id: "group" }, [["", "any"]], "");
  const text = make("input", { id: "text", type: "search", placeholder: "name, label or version", autocomplete: "off", spellcheck: "false" });
  const live = state("waiting", "Connecting");
  const map = panel("map", "Map", live);
  const shown = panel("nodes", "Nodes");
  area.append(map.element, shown.element);
  const controls = make("div", { class: "controls" }, field("State", look), field("Group", group), field("Text", text));
  const cells = make("div");
  let nodes = [];
  let stop = null;

  function put() {
    const chosen = chosenNodes(nodes, { look: look.value, group: group.value, text: text.value });
    if (!chosen.some(({ name }) => name === stop)) stop = chosen[0]?.name ?? null;
    if (!controls.isConnected) {
      map.put();
      map.body.replaceChildren(controls, cells);
    }
    const groups = [...new Set(nodes.map((node) => node.group).filter(Boolean))].sort();
    refill(group, [["", "any"], ...groups.map((name) => [name, name])]);
    cells.replaceChildren(...mapOf(chosen, stop));
    shown.put(tableOf(chosen));
  }

  const reading = watch(PATH, PERIOD_MS, {
    show: (found) => {
      const focused = document.activeElement?.dataset?.node;
      nodes = found;
      put();
      if (focused) cells.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
    },
    fail: (error) => shown.fail(PATH, error),
  });
  for (const control of [look, group, text]) control.addEventListener("input", put);
  cells.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step || !event.target.dataset.node) return;
    event.preventDefault();
    const all = [...cells.querySelectorAll("a[data-node]")];
    const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    stop = next.dataset.node;
    next.focus();
  });
  followed(EVENTS.node, () => reading.refresh(), live);
}

function mapOf(nodes, stop) {
  if (nodes.length === 0) return [make("p", { class: "nothing" }, "No node is like that")];
  const sums = LEGEND.map((one) => [one, nodes.filter((node) => lookOf(node).key === one.key).length]).filter(([, number]) => number);
  return [
    make("ul", { class: "legend", "aria-label": "Legend of the map" }, sums.map(([{ kind, sign, word }, number]) => make("li", {}, make("span", { class: `fleet-cell ${kind}`, "aria-hidden": "true" }, sign), ` ${word}: ${count(number)}`))),
    make("div", { class: "fleet-map" }, byGroup(nodes).map(([name, members]) => groupCells(name, members, stop))),
  ];
}

function groupCells(name, members, stop) {
  const cells = members.map((node) => {
    const { kind, sign, word } = lookOf(node);
    return make("a", { class: `fleet-cell ${kind}`, href: nodePath(node.name), tabindex: node.name === stop ? "0" : "-1", title: `${node.name}: ${word}`, "aria-label": `${node.name}: ${word}`, "data-node": node.name }, sign);
  });
  return make("section", { class: "fleet-group", "aria-label": name || "of no group" }, make("h3", {}, name || "Of no group", make("small", {}, ` ${count(members.length)}`)), make("div", { class: "fleet-cells" }, cells));
}

function tableOf(nodes) {
  const rows = nodes.slice(0, ROWS_MAX).map((node) => {
    const { kind, word } = lookOf(node);
    const running = Object.values(node.running ?? {}).map(targetWord).join(", ");
    const drifted = isDrifted(node) && word !== "Drifted" ? make("small", { class: "drifted" }, " drifted") : null;
    return [
      make("a", { href: nodePath(node.name) }, node.name), [state(kind, word === "Under way" ? stateWord(node.state) : word), drifted].filter(Boolean), node.group || "–", running || "–",
      labelText(node.labels) || "–", count(node.running_deployment), ago(node.seen, Date.now() / 1000),
    ].map((cell) => (Array.isArray(cell) ? make("span", {}, cell) : cell));
  });
  const more = nodes.length > ROWS_MAX ? make("p", { class: "hint" }, `${ROWS_MAX} of ${count(nodes.length)}: choose fewer above`) : null;
  if (!rows.length) return [make("p", { class: "nothing" }, "No node is like that")];
  return [make("div", { class: "wide" }, table("Nodes", COLUMNS, rows, { class: "fleet-nodes" })), more].filter(Boolean);
}
