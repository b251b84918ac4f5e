/** What is known of the node or the shard that was chosen. */

import { facts, make } from "../dom.js";
import { bytes, count, milliseconds } from "../format.js";
import { scrolled } from "./tables.js";
import { nodeFacts, replicaWord, STATES, TONES } from "./words.js";

/** chosen: {node} or {collection, shard}. nowS: Unix seconds. */
export function chosenFacts(site, chosen, nowS) {
  if (chosen.node !== undefined) {
    const member = site.members.find(({ name }) => name === chosen.node);
    return member ? aboutNode(site, member, nowS) : [];
  }
  const shard = site.collections[chosen.collection]?.shards.find((one) => one.shard === chosen.shard);
  return shard ? aboutShard(chosen.collection, shard) : [];
}

function aboutNode(site, member, nowS) {
  const links = site.links.filter(({ node }) => node === member.name);
  const away = new Set(site.members.filter(({ state }) => state !== "here").map(({ name }) => name));
  const rows = links.map((link) => [link.peer, linkCell(link, away), `${bytes(link.bytes_per_s)}/s`, bytes(link.sent_bytes), bytes(link.received_bytes), count(link.failed_count)]);
  return [
    head(member.name, member.name === site.node ? "the node of this page" : "node", member.state),
    facts([...nodeFacts(member, nowS), ["Page", address(member)]]),
    rows.length
      ? scrolled(`Links of ${member.name}`, [{ title: "To" }, { title: "Round trip", number: true }, { title: "Traffic", number: true }, { title: "Sent", number: true, less: true }, { title: "Received", number: true, less: true }, { title: "Failed", number: true, less: true }], rows)
      : make("p", { class: "nothing" }, member.state === "here" ? "It has told of no link yet" : "It is not here to tell of its links"),
  ];
}

function linkCell({ is_up: isUp, round_trip_ms: ms, peer }, away) {
  if (isUp) return milliseconds(ms);
  return make("strong", { class: "lost" }, away.has(peer) ? "away" : "cut");
}

function address({ address: place, state }) {
  if (!place || state !== "here") return place || "–";
  return make("a", { href: `//${place}/` }, place);
}

function aboutShard(collection, { shard, wanted, actual, holders }) {
  const rows = holders.map((holder) => [holder.node, STATES[holder.state], replicaWord(holder), count(holder.points), holder.disk_bytes === null ? "–" : bytes(holder.disk_bytes), count(holder.epoch)]);
  return [
    head(`${collection}, shard ${shard}`, "shard", actual === 0 ? "missing" : actual < wanted ? "frozen" : "here", `${actual} of ${wanted} replicas here`),
    scrolled(`Replicas of shard ${shard}`, [{ title: "On" }, { title: "Node" }, { title: "Replica" }, { title: "Points", number: true }, { title: "On disk", number: true, less: true }, { title: "Epoch", number: true, less: true }], rows),
  ];
}

function head(title, kind, state, word = STATES[state]) {
  return make("header", {}, make("h3", {}, title), make("span", { class: "state", "data-state": TONES[state] }, word), make("span", { class: "hint" }, kind));
}
