import { Refusal } from "./refusal.mjs";

const NAME_BYTES_MAX = 256; // it is a part of keys in KV, which have 512
const TOKEN = /^[\x21-\x7e]{16,}$/; // what a header can say

/** Bounds of the whole numbers among the bindings: [default, least, most]. */
const NUMBERS = {
  DEADLINE_MS: [2000, 1, 60_000],
  HEDGE_MS: [150, 1, 60_000],
  RESULT_TTL_S: [10, 0, 86_400],
  EMBEDDING_TTL_S: [86_400, 60, 31_536_000],
  BODY_BYTES_MAX: [4 << 20, 1024, 64 << 20],
  BODY_DEADLINE_MS: [30_000, 1, 600_000],
  SIDE_MAX: [1024, 1, 8192],
};

/**
 * What the bindings say, read once for an isolate. Throws a Refusal that names the binding.
 * @param {Record<string, unknown>} env
 * @param {{side_max: number}} recipe
 */
export function settingsOf(env, recipe) {
  const told = { ...env, SIDE_MAX: env.SIDE_MAX ?? recipe.side_max };
  const numbers = Object.fromEntries(Object.entries(NUMBERS).map(([name, bounds]) => [name, number(told, name, bounds)]));
  return {
    ...numbers,
    endpoints: endpoints(env),
    tenants: tenants(env),
    origins: origins(env),
    metricsToken: text(env, "METRICS_TOKEN"),
    embeddings: env.EMBEDDINGS ?? null,
  };
}

function number(env, name, [usual, least, most]) {
  const value = (env[name] ?? "") === "" ? usual : Number(env[name]);
  if (!(Number.isInteger(value) && value >= least && value <= most)) throw wrong(name, `a number of ${least} to ${most}`);
  return value;
}

/** @returns {{url: string, regions: string[], key: string}[]} in the order of the binding */
function endpoints(env) {
  const found = json(env, "ENDPOINTS", []);
  const expected = 'a JSON list of {"url", "regions", "key"}';
  if (!Array.isArray(found)) throw wrong("ENDPOINTS", expected);
  return found.map((entry) => {
    const { url, regions = [], key = "QDRANT_API_KEY" } = entry ?? {};
    if (!isAddress(url) || !Array.isArray(regions)) throw wrong("ENDPOINTS", expected);
    return { url: url.replace(/\/+$/, ""), regions, key: text(env, key) };
  });
}

/** Something that a path can follow. Passwords go into `key`: fetch refuses them in an address. */
function isAddress(text) {
  if (typeof text !== "string" || !URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^https?:$/.test(protocol) && !(username || password || search || hash);
}

/** @returns {string[]} */
function origins(env) {
  const found = json(env, "ALLOW_ORIGINS", []);
  if (!Array.isArray(found) || found.some((origin) => typeof origin !== "string"))
    throw wrong("ALLOW_ORIGINS", 'a JSON list of origins, or ["*"]');
  return found;
}

/** @returns {{name: string, token: string, collection?: string, filter?: object}[] | null} null: one tenant, no token */
function tenants(env) {
  if (!text(env, "TENANTS")) return null;
  const found = json(env, "TENANTS");
  const expected = 'JSON {"NAME": {"token", "collection", "filter"}}, tokens of 16 characters and more, each its own';
  if (typeof found !== "object" || found === null || Array.isArray(found)) throw wrong("TENANTS", expected);
  const entries = Object.entries(found).map(([name, told]) => ({ ...told, name }));
  const isOneEach = new Set(entries.map(({ token }) => token)).size === entries.length;
  if (!isOneEach || !entries.every(isTenant)) throw wrong("TENANTS", expected);
  return entries;
}

function isTenant({ name, token, collection, filter }) {
  const bytes = new TextEncoder().encode(name).length;
  const isNamed = name.isWellFormed() && bytes > 0 && bytes <= NAME_BYTES_MAX;
  const isApart = collection === undefined || isCollection(collection);
  const isFilter = filter === undefined || (typeof filter === "object" && filter !== null && !Array.isArray(filter));
  return isNamed && typeof token === "string" && TOKEN.test(token) && isApart && isFilter;
}

/** A name that is one part of a path: `..` would lead out of the collections. */
function isCollection(name) {
  return typeof name === "string" && name.isWellFormed() && !["", ".", ".."].includes(name);
}

function json(env, name, usual) {
  const told = text(env, name);
  if (!told) return usual;
  try {
    return JSON.parse(told);
  } catch {
    throw wrong(name, "JSON");
  }
}

function text(env, name) {
  const value = env[name] ?? "";
  if (typeof value !== "string") throw wrong(name, "text");
  return value;
}

const wrong = (name, expected) => new Refusal(500, `binding \`${name}\` must be ${expected}`);
