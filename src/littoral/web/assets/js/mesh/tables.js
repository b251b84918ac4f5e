/** All of the site as tables. */

import { make, table } from "../dom.js";
import { bytes, count } from "../format.js";
import { linkWord, nodeFacts, pairs, replicaWord } from "./words.js";

export function siteTables(site, nowS) {
  const heads = nodeFacts(site.members[0], nowS).map(([term]) => term);
  const nodes = site.members.map((member) => [member.name, ...nodeFacts(member, nowS).map(([, text]) => text)]);
  const links = pairs(site).map((pair) => [pair.nodes[0], pair.nodes[1], linkWord(pair)]);
  const shards = Object.entries(site.collections).flatMap(([name, { shards: some }]) =>
    some.flatMap(({ shard, holders }) =>
      holders.map((holder) => [`${name} ${shard}`, holder.node, replicaWord(holder), count(holder.points), holder.disk_bytes === null ? "–" : bytes(holder.disk_bytes)]),
    ),
  );
  return make(
    "details", { class: "site-tables" },
    make("summary", {}, "All of it as tables"),
    scrolled("Nodes", [{ title: "Node" }, ...heads.map((title, i) => ({ title, number: i >= 3 }))], nodes),
    scrolled("Links between nodes that are here", [{ title: "From" }, { title: "To" }, { title: "Round trip", number: true }], links),
    scrolled("Replicas", [{ title: "Shard" }, { title: "On" }, { title: "State" }, { title: "Points", number: true }, { title: "On disk", number: true }], shards),
  );
}

/** A table that scrolls where it is too large. */
export function scrolled(title, columns, rows) {
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, table(title, columns, rows));
}
