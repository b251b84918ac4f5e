/** Name, state and age of the node. */

import { byId } from "../dom.js";
import { duration } from "../format.js";

export function showNode({ name, version, uptime_s, ready, listen }) {
  document.title = `${name} · Littoral`;
  byId("node-name").textContent = name;
  byId("node-facts").textContent = `${listen} · version ${version} · up ${duration(uptime_s)}`;
  setState(byId("node-state"), ready ? "good" : "warn", ready ? "Ready" : "Not ready");
}

export function showNoNode(error) {
  setState(byId("node-state"), "bad", error.status === 0 ? "No connection" : error.message);
}

/** Touches the element only where it changes: it may be read out. */
export function setState(element, state, text) {
  if (element.textContent === text) return;
  element.dataset.state = state;
  element.textContent = text;
}
