const ASKED = "authorization, cache-control, content-type, littoral-key, littoral-region, littoral-version, traceparent";
const TOLD = "littoral-how, littoral-switch, littoral-version";

/**
 * Headers by which a page of another origin may read the answer; none for an origin that is not among those allowed.
 * @param {Request} request
 * @param {string[]} allowed origins, or `*` for all
 * @returns {Record<string, string>}
 */
export function originHeaders(request, allowed) {
  const origin = request.headers.get("origin");
  if (allowed.length === 0) return {};
  const vary = { vary: "origin" };
  if (origin === null || !(allowed.includes(origin) || allowed.includes("*"))) return vary;
  return { ...vary, "access-control-allow-origin": origin, "access-control-expose-headers": TOLD };
}

/**
 * What a browser asks before it sends a picture to another origin.
 * @param {string[]} methods
 */
export function preflight(methods) {
  const headers = {
    "access-control-allow-methods": methods.join(", "),
    "access-control-allow-headers": ASKED,
    "access-control-max-age": "86400",
  };
  return new Response(null, { status: 204, headers });
}
