/** How the fleet is, in the bar. */

import { byId } from "../dom.js";
import { count } from "../format.js";
import { setState } from "../node/top_bar.js";

export function showFleet({ nodes, rollouts, artifacts }) {
  byId("node-name").textContent = "Fleet";
  byId("node-facts").textContent = `${count(nodes.total)} nodes · ${count(rollouts.running)} rollouts running · ${count(artifacts)} artifacts`;
  const isWhole = nodes.online === nodes.total;
  setState(byId("node-state"), isWhole ? "good" : "warn", isWhole ? "All online" : `${count(nodes.total - nodes.online)} offline`);
}

export function showNoFleet(error) {
  setState(byId("node-state"), "bad", error.status === 0 ? "No connection" : error.message);
}
