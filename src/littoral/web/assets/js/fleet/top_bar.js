/** How the fleet is, in the bar. */

import { byId } from "../dom.js";
import { count } from "../format.js";
import { setState } from "../node/top_bar.js";

export function showFleet({ name, nodes, online, drifting, rollouts, artifacts }) {
  byId("node-name").textContent = name;
  const running = rollouts.running ?? 0;
  byId("node-facts").textContent = `${count(nodes)} nodes · ${count(drifting)} drifting · ${count(running)} rollouts running · ${count(artifacts.published ?? 0)} artifacts published`;
  const isWhole = online === nodes;
  setState(byId("node-state"), isWhole ? "good" : "warn", nodes === 0 ? "No node yet" : isWhole ? "All online" : `${count(nodes - online)} offline`);
}

export function showNoFleet(error) {
  setState(byId("node-state"), "bad", error.status === 0 ? "No connection" : error.message);
}
