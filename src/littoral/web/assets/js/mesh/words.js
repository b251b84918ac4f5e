/** A site in words: what is read out, and what stands beside every colour. Pure. */

import { bytes, count, duration, milliseconds } from "../format.js";

export const STATES = { here: "here", frozen: "frozen", missing: "missing", left: "no member" };
export const TONES = { here: "good", frozen: "warn", missing: "bad", left: "warn" };

const MOVE_NODES_MAX = 4;
const SITE_MS = 2;
const FAR_MS = 15;
export const SPEEDS = { near: `below ${SITE_MS} ms`, middle: `below ${FAR_MS} ms`, far: `${FAR_MS} ms and more`, cut: "cut" };

/** Links between nodes that are both here, one for each pair: `{key, nodes, isUp, ms, speed}`; the slower way counts. */
export function pairs({ members, links }) {
  const here = new Set(members.filter(({ state }) => state === "here").map(({ name }) => name));
  const found = new Map();
  for (const link of links) {
    if (!here.has(link.node) || !here.has(link.peer)) continue;
    const nodes = [link.node, link.peer].sort();
    const key = nodes.join(" ");
    const pair = found.get(key) ?? { key, nodes, isUp: true, ms: null };
    pair.isUp &&= link.is_up;
    if (link.round_trip_ms !== null) pair.ms = Math.max(pair.ms ?? 0, link.round_trip_ms);
    found.set(key, pair);
  }
  return [...found.values()].map((pair) => ({ ...pair, speed: speedOf(pair) })).sort((a, b) => a.key.localeCompare(b.key));
}

function speedOf({ isUp, ms }) {
  if (!isUp) return "cut";
  return ms === null || ms < SITE_MS ? "near" : ms < FAR_MS ? "middle" : "far";
}

export const linkWord = ({ isUp, ms }) => (isUp ? (ms === null ? "–" : milliseconds(ms)) : "cut");

/** As `linkWord`, where there is little room. */
export const shortLinkWord = (link) => (link.isUp && link.ms >= 10 ? `${Math.round(link.ms)}\u202fms` : linkWord(link));

/** The site in a sentence. */
export function summary({ site, members, map_number: number, desired }) {
  const own = members.filter(({ is_member: isMember }) => isMember);
  const here = own.filter(({ state }) => state === "here").length;
  const signed = desired.signed_by ? `, signed by \`${desired.signed_by}\`` : "";
  const roster = desired.roster_number === null ? "" : ` · roster ${desired.roster_number}, written by \`${desired.roster_writer}\``;
  return `Site \`${site}\`: ${here} of ${own.length} nodes here · shard map ${number}, written by \`${desired.writer}\`${signed}${roster}`;
}

export function stateOfSite({ members, problems }) {
  const failing = problems.filter(({ weight }) => weight === "fail").length;
  if (failing) return ["bad", problemCount(problems.length)];
  if (problems.length) return ["warn", problemCount(problems.length)];
  return ["good", members.length === 1 ? "Alone" : "All well"];
}

const problemCount = (number) => `${number} ${number === 1 ? "problem" : "problems"}`;

export const shardCount = (member) => Object.values(member.shards).reduce((sum, some) => sum + some.length, 0);

export function nodeLabel(member) {
  const region = member.region ? `, region ${member.region}` : "";
  return `${member.name}, ${STATES[member.state]}${region}, ${shardCount(member)} shards, ${count(member.points)} points`;
}

/** Facts of a node, as [term, text] pairs. */
export function nodeFacts(member, nowS) {
  return [
    ["State", STATES[member.state]],
    ["Region", member.region || "–"],
    ["Version", member.version ?? "–"],
    ["Up", member.since_s === null || member.state !== "here" ? "–" : duration(Math.max(0, nowS - member.since_s))],
    ["Starts", count(member.boot)],
    ["Last word", member.fact_age_s === null ? "never" : `${duration(member.fact_age_s)} ago`],
    ["Shard map", count(member.map_number)],
    ["Shards", count(shardCount(member))],
    ["Points", count(member.points)],
    ["On disk", member.disk_bytes === null ? "–" : bytes(member.disk_bytes)],
  ];
}

/** What a replica is: `ok`, `behind`, `making` or the state of its node. */
export function replicaState(holder) {
  if (holder.state !== "here") return holder.state;
  if (holder.epoch === null) return "making";
  return holder.lag_entries > 0 ? "behind" : "ok";
}

export function replicaWord(holder) {
  const words = { ok: "in step", making: "being made", behind: behindWord(holder) };
  return words[replicaState(holder)] ?? STATES[holder.state];
}

export const behindWord = ({ lag_entries: entries, lag_s: seconds }) =>
  `${count(entries)} ${entries === 1 ? "write" : "writes"} behind, for ${duration(Math.max(1, seconds))}`;

export function moveWord({ collection, what, sources, targets, stage, share }) {
  const isShort = Math.max(sources.length, targets.length) <= MOVE_NODES_MAX;
  const way = isShort ? `, from ${sources.join(", ")} to ${targets.join(", ")}` : "";
  const done = share === null ? "" : `, ${Math.round(100 * share)} % done`;
  return `\`${collection}\`: ${what}${way}: ${stage}${done}`;
}
