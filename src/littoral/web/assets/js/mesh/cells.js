/** The shards of each collection as cells in the rows of the nodes that hold them. */

import { make, meter, prose } from "../dom.js";
import { count } from "../format.js";
import { moveWord, replicaState, replicaWord, STATES } from "./words.js";

/** chosen: {collection, shard} or null. stop: key of the cell that Tab reaches. */
export function shardCells({ collections, members, moves }, { chosen, stop }) {
  const names = Object.keys(collections);
  if (names.length === 0) return [make("p", { class: "nothing" }, "No collection is spread over the nodes")];
  return [
    ...names.map((name) => collectionCells(name, collections[name], members, { chosen, stop })),
    moves.length ? make("div", { class: "moves" }, make("h3", {}, "On the way"), make("ul", {}, moves.map(moveItem))) : null,
  ].filter(Boolean);
}

export const cellKey = (collection, shard, node) => `${collection} ${shard} ${node}`;

function collectionCells(name, collection, members, { chosen, stop }) {
  const rows = members
    .map((member) => [member, collection.shards.flatMap((shard) => shard.holders.filter(({ node }) => node === member.name).map((holder) => [shard, holder]))])
    .filter(([, held]) => held.length);
  const short = collection.shards.filter(({ actual, wanted }) => actual < wanted).length;
  const words = [`${collection.strategy}: ${collection.words}`, `${count(collection.points)} points`, collection.model && `model ${collection.model}`, short && `${short} of ${collection.shards.length} shards short of replicas`];
  return make(
    "div", { class: "spread", "data-key": name },
    make("h3", {}, name),
    make("p", { class: "hint" }, words.filter(Boolean).join(" · ")),
    make(
      "ul", { class: "cells" },
      rows.map(([member, held]) =>
        make(
          "li", { "data-key": member.name },
          make("span", { class: `holder ${member.state}` }, member.name, member.state === "here" ? null : make("small", {}, ` ${STATES[member.state]}`)),
          make("span", { class: "row" }, held.map(([shard, holder]) => cell(name, shard, holder, { chosen, stop }))),
        ),
      ),
    ),
  );
}

function cell(collection, shard, holder, { chosen, stop }) {
  const state = replicaState(holder);
  const key = cellKey(collection, shard.shard, holder.node);
  const isChosen = chosen?.collection === collection && chosen.shard === shard.shard;
  return make(
    "button",
    {
      type: "button",
      class: `cell ${state}`,
      tabindex: key === stop ? "0" : "-1",
      "aria-pressed": String(isChosen),
      "aria-label": `Shard ${shard.shard} of ${collection} on ${holder.node}: ${replicaWord(holder)}, ${count(holder.points)} points`,
      title: `${holder.node}: ${replicaWord(holder)}`,
      "data-key": key,
      "data-collection": collection,
      "data-shard": shard.shard,
    },
    String(shard.shard),
    state === "behind" ? make("small", {}, ` −${count(holder.lag_entries)}`) : null,
    state === "making" ? make("small", {}, " …") : null,
  );
}

function moveItem(move) {
  return make("li", { "data-key": `${move.collection} ${move.shards.join()} ${move.what}` }, make("p", {}, prose(moveWord(move))), move.share === null ? null : meter(move.share));
}

