/** How the fleet is, in the bar. */

import { byId } from "../dom.js";
import { count, counted } from "../format.js";
import { setState } from "../node/top_bar.js";

export function showFleet({ name, nodes, online, drifting, rollouts, artifacts }) {
  byId("node-name").textContent = name;
  const running = rollouts.running ?? 0;
  byId("node-facts").textContent = `${counted(nodes, "node")} · ${count(drifting)} drifting · ${counted(running, "rollout")} running · ${counted(artifacts.published ?? 0, "artifact")} published`;
  const isWhole = online === nodes;
  setState(byId("node-state"), isWhole ? "good" : "warn", nodes === 0 ? "No node yet" : isWhole ? "All online" : `${count(nodes - online)} offline`);
}

export function showNoFleet(error) {
  setState(byId("node-state"), "bad", error.status === 0 ? "No connection" : error.message);
}
