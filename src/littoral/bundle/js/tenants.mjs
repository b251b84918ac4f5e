import { Refusal } from "./refusal.mjs";

const ANYONE = { name: "" };

/**
 * Who asks: by the token of the header `Authorization`, or anyone where no tenants are bound.
 * @param {Request} request
 * @param {{name: string, token: string}[] | null} tenants
 */
export async function tenantOf(request, tenants) {
  if (tenants === null) return ANYONE;
  const token = bearer(request);
  const same = await Promise.all(tenants.map((tenant) => isSame(token, tenant.token)));
  const found = tenants[same.indexOf(true)];
  if (found === undefined) throw new Refusal(401, "no token of a tenant", { "www-authenticate": "Bearer" });
  return found;
}

/**
 * @param {Request} request
 * @param {string} token nothing to be shown where it is empty
 */
export async function checkToken(request, token) {
  if (token && !(await isSame(bearer(request), token)))
    throw new Refusal(401, "wrong token", { "www-authenticate": "Bearer" });
}

const bearer = (request) => /^Bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";

/** Compares digests, so that time tells nothing of how far two texts agree. */
async function isSame(left, right) {
  const [a, b] = await Promise.all([left, right].map((text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
  const [first, second] = [new Uint8Array(a), new Uint8Array(b)];
  return first.reduce((differs, byte, i) => differs | (byte ^ second[i]), 0) === 0;
}
