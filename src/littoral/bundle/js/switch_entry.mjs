// Two versions side by side: the services CURRENT and NEXT, and SHARE, how many of a hundred callers get the next one.
// The same caller gets the same version. The header `littoral-version: current` or `next` asks for one.
const NAMES = { current: "CURRENT", next: "NEXT" };

export default {
  async fetch(request, env) {
    const told = request.headers.get("littoral-version") ?? "";
    const name = Object.hasOwn(NAMES, told) ? told : (await place(request)) < Number(env.SHARE ?? 0) ? "next" : "current";
    const found = await env[NAMES[name]].fetch(request);
    const answer = new Response(found.body, found);
    answer.headers.set("littoral-switch", name);
    return answer;
  },
};

/** A number of 0 to 100 that is the caller's: of his key, his token or his address, else by chance. */
async function place(request) {
  const keys = ["littoral-key", "authorization", "cf-connecting-ip"].map((name) => request.headers.get(name));
  const key = keys.find((value) => value !== null) ?? crypto.randomUUID();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  return (new DataView(digest).getUint32(0) / 2 ** 32) * 100;
}
