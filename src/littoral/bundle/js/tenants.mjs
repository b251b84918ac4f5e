import { sha256 } from "./digest.mjs";
import { Refusal } from "./refusal.mjs";

const ANYONE = { name: "" };
const byToken = new WeakMap(); // of tenants: each by the digest of its token

/**
 * Who asks: by the token of the header `Authorization`, or anyone where no tenants are bound.
 * @param {Request} request
 * @param {{name: string, token: string}[] | null} tenants
 */
export async function tenantOf(request, tenants) {
  if (tenants === null) return ANYONE;
  if (!byToken.has(tenants)) byToken.set(tenants, await digested(tenants));
  const found = byToken.get(tenants).get(await digestOf(bearer(request)));
  if (found === undefined) throw new Refusal(401, "no token of a tenant", { "www-authenticate": "Bearer" });
  return found;
}

/**
 * @param {Request} request
 * @param {string} token nothing to be shown where it is empty
 */
export async function checkToken(request, token) {
  if (token && (await digestOf(bearer(request))) !== (await digestOf(token)))
    throw new Refusal(401, "wrong token", { "www-authenticate": "Bearer" });
}

const bearer = (request) => /^Bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";

/** Digests are compared in the place of tokens, so that time tells nothing of how far two tokens agree. */
const digestOf = (token) => sha256(new TextEncoder().encode(token));

async function digested(tenants) {
  return new Map(await Promise.all(tenants.map(async (tenant) => [await digestOf(tenant.token), tenant])));
}
