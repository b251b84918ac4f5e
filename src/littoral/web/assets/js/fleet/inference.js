/** Steps of sites that are exhausted: what nodes of the data centre did, and for whom. */

import { facts, make, prose, table } from "../dom.js";
import { bytes, count } from "../format.js";
import { panel, state } from "../pages/panel.js";
import { watch } from "../watch.js";

const PATH = "/api/fleet/inference";
const PERIOD_MS = 5_000;
const REFUSED = { large: "too large", often: "too often", busy: "no room", unknown: "unknown here", denied: "denied", wrong: "no step" };
const STEPS = [{ title: "Done", number: true }, { title: "Refused", number: true }, { title: "Failed", number: true, less: true }, { title: "Under way", number: true, less: true }];
const CENTRE = [{ title: "Node" }, { title: "State" }, { title: "Works for", less: true }, { title: "Offers", number: true, less: true }, ...STEPS, { title: "Sent", number: true, less: true }, { title: "Received", number: true, less: true }];
const SITES = [{ title: "Node" }, ...STEPS, { title: "From it", number: true, less: true }, { title: "To it", number: true, less: true }];

export function inferencePage(area) {
  const live = state("waiting", "Reading");
  const all = panel("inference", "Steps for sites", live);
  const centre = panel("centre", "Nodes of the data centre");
  const sites = panel("callers", "Asked for by");
  area.append(all.element, centre.element, sites.element);

  watch(PATH, PERIOD_MS, {
    show: (found) => {
      const [kind, word] = lookOf(found);
      live.dataset.state = kind;
      live.textContent = word;
      all.put(found.problem ? make("p", { class: "notice failed", role: "alert" }, prose(found.problem)) : null, facts(sums(found)));
      centre.put(found.nodes.length ? wide("Nodes of the data centre", CENTRE, found.nodes.map(nodeRow)) : nothing("No node of a data centre is named in the orchestrator's file"));
      sites.put(found.sites.length ? wide("Nodes of sites", SITES, found.sites.map(siteRow)) : nothing("No site asked for a step yet"));
    },
    fail: (error) => all.fail(PATH, error),
  });
}

/** State of the whole: kind and word. */
function lookOf({ takes, busy, busy_max: most, problem, nodes }) {
  if (!takes) return ["waiting", "Not set up"];
  if (!nodes.some(({ answers }) => answers)) return ["bad", "No node answers"];
  if (problem) return ["bad", "File is wrong"];
  if (busy >= most || nodes.every(({ answers, is_spent: isSpent }) => !answers || isSpent)) return ["warn", "Exhausted"];
  return ["good", "Takes steps"];
}

function sums({ steps, bytes: moved, busy, busy_max: most }) {
  const refusals = Object.entries(REFUSED).map(([key, word]) => [`Refused, ${word}`, count(steps[key] ?? 0)]);
  return [["Done", count(steps.answered ?? 0)], ["Under way", `${count(busy)} of ${count(most)}`], ["From sites", bytes(moved.received ?? 0)], ["To sites", bytes(moved.sent ?? 0)], ["Failed", count(steps.failed ?? 0)], ...refusals];
}

const refused = (steps) => Object.keys(REFUSED).reduce((sum, key) => sum + (steps[key] ?? 0), 0);
const numbers = ({ steps, busy }) => [count(steps.answered ?? 0), count(refused(steps)), count(steps.failed ?? 0), count(busy)];
const nothing = (text) => make("p", { class: "nothing" }, text);
const wide = (title, columns, rows) => make("div", { class: "wide" }, table(title, columns, rows));

function nodeRow(node) {
  const [kind, word] = node.answers ? (node.is_spent ? ["warn", "Exhausted"] : ["good", "Answers"]) : ["bad", "Away"];
  const shown = state(kind, word);
  if (node.problem) shown.title = node.problem;
  return [make("span", { title: node.url }, node.node), shown, node.groups.join(", ") || "all", count(node.offers), ...numbers(node), bytes(node.bytes.sent ?? 0), bytes(node.bytes.received ?? 0)];
}

const siteRow = (site) => [make("a", { href: `/pages/node?name=${encodeURIComponent(site.node)}` }, site.node), ...numbers(site), bytes(site.bytes.received ?? 0), bytes(site.bytes.sent ?? 0)];
