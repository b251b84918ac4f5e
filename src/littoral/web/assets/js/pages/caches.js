/** The caches: how often each helped, what it holds of what it may, and its end. */

import { NodeError, sendJson } from "../api.js";
import { facts, make, meter } from "../dom.js";
import { bytes, count, percent } from "../format.js";
import { watch } from "../watch.js";
import { failure, panel, said, state } from "./panel.js";

const PATH = "/api/caches";
const PERIOD_MS = 2_000;
const TITLES = { embedding: "Embeddings", exact: "Same searches", near: "Near searches" };

export function cachesPage(area) {
  const status = said();
  const shown = panel("caches", "Caches", status);
  area.append(shown.element);
  let asked = null; // the cache that is to be emptied, if it is meant so
  let refused = null;

  const reading = watch(PATH, PERIOD_MS, {
    show: (value) => shown.put(view(value)),
    fail: (error) => shown.fail(PATH, error),
  });

  const view = ({ caches, disk_bytes_max: disk, fills, fills_dropped: dropped }) => [
    refused && failure("Not emptied", refused),
    ...caches.map((cache) => card(cache, asked === cache.name)),
    make("p", { class: "hint" }, `On disk: ${disk ? `embeddings, up to ${bytes(disk)}` : "nothing"} · lists made beside requests: ${count(fills)}, not made: ${count(dropped)}`),
  ];

  shown.body.addEventListener("click", async ({ target }) => {
    const button = target.closest("button[data-cache]");
    if (!button) return;
    const { cache, way } = button.dataset;
    refused = null;
    asked = way === "ask" ? cache : null;
    if (way === "empty") {
      try {
        const gone = await sendJson("DELETE", `${PATH}/${cache}`);
        status.textContent = `${TITLES[cache]}: ${count(gone.entries)} entries, ${bytes(gone.bytes)} forgotten`;
      } catch (error) {
        if (!(error instanceof NodeError)) throw error;
        refused = error.message;
      }
    }
    await reading.refresh();
    shown.body.querySelector(`button[data-cache="${cache}"]`)?.focus();
  });
}

function card(cache, isAsked) {
  const share = cache.hit_share;
  const isOn = cache.bytes_max > 0;
  const button = (way, text, kind = "quiet") => make("button", { class: `button ${kind}`, type: "button", "data-cache": cache.name, "data-way": way, disabled: !isOn }, text);
  return make(
    "article", { class: "card", "data-key": cache.name, "data-name": cache.name },
    make(
      "header", {},
      make("h3", {}, TITLES[cache.name]),
      state(isOn ? "good" : "waiting", isOn ? "On" : "Off"),
      make("div", { class: "actions" }, isAsked ? [button("empty", "Forget all of it", "danger"), button("keep", "Keep it")] : button("ask", "Empty")),
    ),
    make("p", { class: "hint" }, cache.holds),
    facts([
      ["Hits", [share === null ? "–" : percent(share), make("small", {}, ` ${count(cache.hits)} of ${count(cache.hits + cache.misses)}`), meter(share ?? 0)]],
      ["Memory", [bytes(cache.bytes), make("small", {}, ` of ${bytes(cache.bytes_max)}`), meter(isOn ? cache.bytes / cache.bytes_max : 0)]],
      ["Entries", count(cache.entries)],
      ["Left for want of room", count(cache.evicted)],
    ]),
  );
}
