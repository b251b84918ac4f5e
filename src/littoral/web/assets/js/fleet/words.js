/** What states are called, how they look, and which nodes are meant. Pure. */

const STATES = {
  idle: "Nothing to do",
  fetched: "Fetched",
  verified: "Verified",
  staged: "Staged",
  warmed: "Warm",
  canary: "On mirrored requests",
  active: "Serves, is watched",
  settled: "Settled",
  rolled_back: "Rolled back",
  refused: "Refused",
};
const UNDER_WAY = new Set(["fetched", "verified", "staged", "warmed", "canary", "active"]);

/** A node's looks: `kind` colours, `sign` says the same without colour. The first that fits. */
const LOOKS = [
  { key: "offline", kind: "bad", sign: "○", word: "Offline", fits: ({ online }) => !online },
  { key: "refused", kind: "bad", sign: "✕", word: "Refused", fits: ({ state }) => state === "refused" },
  { key: "rolled_back", kind: "bad", sign: "↺", word: "Rolled back", fits: ({ state }) => state === "rolled_back" },
  { key: "under_way", kind: "warn", sign: "…", word: "Under way", fits: ({ state }) => UNDER_WAY.has(state) },
  { key: "drift", kind: "warn", sign: "≠", word: "Drifted", fits: (node) => isDrifted(node) },
  { key: "good", kind: "good", sign: "✓", word: "As desired", fits: () => true },
];

export const LEGEND = LOOKS.map(({ key, kind, sign, word }) => ({ key, kind, sign, word }));

export const lookOf = (node) => LOOKS.find(({ fits }) => fits(node));

export const stateWord = (state) => STATES[state] ?? state;

export const isDrifted = ({ drift }) => (Array.isArray(drift) ? drift.length > 0 : Boolean(drift));

export const labelText = (labels) => Object.entries(labels ?? {}).map(([name, value]) => `${name}=${value}`).join(" ");

/** `a=b c=d`, by blanks or commas, as an object; a word without `=` is left out. */
export function labelsOf(text) {
  const pairs = text.split(/[\s,]+/).filter((word) => word.includes("="));
  return Object.fromEntries(pairs.map((word) => [word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)]));
}

/** Those that the filters let through. text: words of which each must be in the name, the labels or what runs. */
export function chosenNodes(nodes, { look, group, text }) {
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  return nodes.filter((node) => {
    if (look && lookOf(node).key !== look) return false;
    if (group && (node.group ?? "") !== group) return false;
    const words = [node.name, labelText(node.labels), ...Object.values(node.running ?? {})].join(" ").toLowerCase();
    return wanted.every((word) => words.includes(word));
  });
}

/** By group, in the order of the names; nodes of no group last. */
export function byGroup(nodes) {
  const groups = new Map();
  for (const node of nodes) groups.set(node.group ?? "", [...(groups.get(node.group ?? "") ?? []), node]);
  return [...groups].sort(([a], [b]) => (!a) - (!b) || a.localeCompare(b));
}

/** Seconds since a moment, in words. */
export function ago(seconds, now) {
  if (!seconds) return "never";
  const age = Math.max(0, now - seconds);
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([size]) => age >= size) ?? [1, "s"];
  return `${Math.floor(age / size)} ${unit} ago`;
}

/** A target as people say it: `embedder 3`. */
export const targetWord = (target) => (target ? target.replace(/^[a-z]+\//, "").replace(/\/(\d+)\.\w+$/, " $1") : "–");

/** Names of events, by what they touch. */
export const EVENTS = {
  node: ["node", "ask"],
  rollout: ["rollout", "group", "node"],
  artifact: ["artifact", "rollout"],
  claim: ["claim", "node"],
  act: ["artifact", "ask", "claim", "group", "node", "rollout"],
};

/** What an event says beside its kind and what it is about. */
export const detailText = (detail) => Object.entries(detail ?? {}).filter(([, value]) => value !== undefined && value !== "").map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ") || "–";

export const nodePath = (name) => `/pages/node?name=${encodeURIComponent(name)}`;

/** What the address says after `?`. */
export const asked = (name) => new URLSearchParams(location.search).get(name) ?? "";
