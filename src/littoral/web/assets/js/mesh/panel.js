/** The panel of the site: its map, its shards, what is wrong, and what is known of what was chosen. */

import { byId, complaint, make, prose } from "../dom.js";
import { morphChildren } from "../morph.js";
import { setState } from "../node/top_bar.js";
import { watch } from "../watch.js";
import { cellKey, shardCells } from "./cells.js";
import { chosenFacts } from "./facts.js";
import { siteMap, stateMark } from "./map.js";
import { siteTables } from "./tables.js";
import { SPEEDS, STATES, stateOfSite, summary } from "./words.js";

const PERIOD_MS = 2_000;
const PROBLEMS_SHOWN = 4;
const NARROWEST_PX = 300;
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** Reads `/api/mesh` for as long as the page is looked at, and shows it. */
export function watchSite() {
  const body = byId("mesh-body");
  let site = null;
  let chosen = null;
  let stops = { node: null, cell: null };

  function show() {
    body.classList.remove("waiting");
    if (site.site === null) {
      setState(byId("mesh-state"), "good", "Alone");
      morphChildren(body, [make("p", { class: "nothing" }, prose("This node stands alone. The table `mesh` of its site file makes it one of several."))]);
      return;
    }
    settle();
    setState(byId("mesh-state"), ...stateOfSite(site));
    morphChildren(body, view());
  }

  /** What was chosen, and what Tab reaches, is something that is there. */
  function settle() {
    const names = site.members.map(({ name }) => name);
    const cells = cellKeys(site);
    const isThere = chosen && (chosen.node === undefined ? site.collections[chosen.collection]?.shards.some(({ shard }) => shard === chosen.shard) : names.includes(chosen.node));
    if (!isThere) chosen = { node: site.node };
    stops = {
      node: names.includes(stops.node) ? stops.node : site.node,
      cell: cells.includes(stops.cell) ? stops.cell : cells[0],
    };
  }

  function view() {
    const nowS = Date.now() / 1000;
    return [
      make("p", { class: "hint site-summary" }, prose(summary(site))),
      problemList(site.problems),
      make(
        "div", { class: "site" },
        make("div", { class: "map" }, siteMap(site, { chosen: chosen.node ?? null, stop: stops.node, width: mapWidth() }), legend(site)),
        make("section", { class: "chosen", "aria-label": "What was chosen", "aria-live": "off" }, chosenFacts(site, chosen, nowS)),
      ),
      make("div", { class: "shards" }, shardCells(site, { chosen: chosen.node === undefined ? chosen : null, stop: stops.cell })),
      make("p", { class: "hint routing" }, routingWord(site.routing)),
      siteTables(site, nowS),
    ];
  }

  const mapWidth = () => Math.max(NARROWEST_PX, Math.round(body.querySelector(".map")?.clientWidth ?? (body.clientWidth > 800 ? 0.58 * body.clientWidth : body.clientWidth)));

  function choose(target) {
    const node = target.closest("[data-node]")?.dataset.node;
    const cell = target.closest("[data-shard]")?.dataset;
    if (node !== undefined) {
      chosen = { node };
      stops.node = node;
    } else if (cell) {
      chosen = { collection: cell.collection, shard: Number(cell.shard) };
      stops.cell = cell.key;
    } else return;
    show();
  }

  /** Arrows go from node to node, and from cell to cell. */
  function step(event) {
    const from = event.target.closest("[data-node], [data-shard]");
    if (!from) return;
    if (event.key === "Enter" || event.key === " ") {
      if (from.dataset.node === undefined) return; // a button does it by itself
      event.preventDefault();
      choose(from);
      return;
    }
    const way = STEPS[event.key];
    if (!way) return;
    event.preventDefault();
    const all = [...body.querySelectorAll(from.dataset.node === undefined ? "[data-shard]" : "[data-node]")];
    const next = all[(all.indexOf(from) + way + all.length) % all.length];
    if (next.dataset.node === undefined) stops.cell = next.dataset.key;
    else stops.node = next.dataset.node;
    from.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  }

  body.addEventListener("click", (event) => site?.site && choose(event.target));
  body.addEventListener("keydown", step);
  let seenWidth = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (Math.abs(contentRect.width - seenWidth) < 1) return;
    seenWidth = contentRect.width;
    if (site?.site) requestAnimationFrame(show);
  }).observe(body);

  watch("/api/mesh", PERIOD_MS, {
    show: (value) => {
      site = value;
      show();
    },
    fail: (error, isFirst) => {
      setState(byId("mesh-state"), "bad", "Not read");
      if (!isFirst) return;
      body.classList.remove("waiting");
      body.replaceChildren(make("div", { class: "notice failed" }, complaint("Could not read `/api/mesh`", error.message)));
    },
  });
}

const cellKeys = ({ collections }) =>
  Object.entries(collections).flatMap(([name, { shards }]) => shards.flatMap(({ shard, holders }) => holders.map(({ node }) => cellKey(name, shard, node))));

function legend({ members }) {
  const speeds = Object.entries(SPEEDS).map(([speed, words]) => make("li", {}, make("span", { class: `stroke ${speed}`, "aria-hidden": "true" }), words));
  const there = new Set(members.map(({ state }) => state));
  const states = there.size > 1 ? Object.keys(STATES).filter((state) => there.has(state)).map((state) => make("li", {}, stateMark(state), STATES[state])) : [];
  return make("ul", { class: "legend", "aria-label": "Legend of the map" }, make("li", {}, "Links, by round trip:"), speeds, states);
}

function problemList(problems) {
  if (problems.length === 0) return make("div", { class: "problems", hidden: true });
  const item = ({ weight, subject, message, hint }) =>
    make("li", { class: weight }, make("strong", {}, prose(subject)), " ", prose(message), make("div", { class: "hint" }, prose(hint)));
  const [first, rest] = [problems.slice(0, PROBLEMS_SHOWN), problems.slice(PROBLEMS_SHOWN)];
  return make(
    "div", { class: "problems" },
    make("ul", {}, first.map(item)),
    rest.length ? make("details", {}, make("summary", {}, `${rest.length} more`), make("ul", {}, rest.map(item))) : null,
  );
}

function routingWord({ reads, nodes_per_read: mean, incomplete, classes }) {
  if (mean === null) return "No search of a spread collection by this node yet";
  const learned = classes.filter(({ level }) => level !== null).length;
  const audits = classes.reduce((sum, { audited }) => sum + audited, 0);
  const alarms = classes.reduce((sum, { alarms: some }) => sum + some, 0);
  return `Searches by this node: ${reads} reads asked ${mean.toFixed(2)} other nodes each, ${incomplete} with a shard missing · ${learned} of ${classes.length} classes calibrated, ${audits} audited, ${alarms} alarms`;
}
