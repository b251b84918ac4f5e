/** The pipelines: their steps, how often and how fast they run now, and a run with what one brings. */

import { make } from "../dom.js";
import { listen } from "../events.js";
import { count, milliseconds } from "../format.js";
import { pipelineCards, pipelineShape } from "../node/pipelines.js";
import { watch } from "../watch.js";
import { panel, state } from "./panel.js";
import { rateBars } from "./rates.js";
import { triedPanel } from "./tried.js";

const PATH = "/api/pipelines";
const PERIOD_MS = 2_000;

export function pipelinesPage(area) {
  const live = state("waiting", "Connecting");
  const shown = panel("pipelines", "Pipelines", live);
  const tried = triedPanel();
  area.append(shown.element, tried.element);
  let made = null;
  let shape = null;
  const seen = [];

  const reading = watch(PATH, PERIOD_MS, {
    show: (pipelines) => {
      if (pipelineShape(pipelines) !== shape) {
        shape = pipelineShape(pipelines);
        made = pipelineCards(pipelines);
        shown.put();
        shown.body.replaceChildren(...made.elements);
        for (const card of shown.body.querySelectorAll(".card")) card.append(make("div", { class: "rates" }));
        tried.show(pipelines);
      }
      made.update(pipelines);
      rate(pipelines);
    },
    fail: (error) => shown.fail(PATH, error),
  });

  function rate(pipelines) {
    for (const pipeline of pipelines) {
      const place = shown.body.querySelector(`[data-name="${CSS.escape(pipeline.name)}"] .rates`);
      place?.replaceChildren(...rates(pipeline, seen.filter(({ name }) => name === pipeline.name)));
    }
  }

  const tick = () => reading.latest && !document.hidden && rate(reading.latest);
  setInterval(tick, 1_000);
  listen("/api/events", "request", {
    receive: ({ pipeline, total_ms: ms, ok }) => {
      seen.push({ name: pipeline, at: performance.now(), ms, ok });
      while (seen.length > 3600 || seen[0]?.at < performance.now() - 60_000) seen.shift();
    },
    connected: (isConnected) => {
      live.dataset.state = isConnected ? "good" : "warn";
      live.textContent = isConnected ? "Live" : "Connecting";
    },
  });
}

function rates({ requests, failures, refused, p50_ms: p50, p95_ms: p95 }, seen) {
  const now = performance.now();
  const latest = seen.filter(({ at }) => at > now - 10_000);
  return [
    rateBars(seen, now),
    make("p", { class: "figures" },
      make("strong", {}, `${(latest.length / 10).toFixed(1)} /s`), make("span", { class: "hint" }, " in the last 10 s"),
      make("span", {}, `p50 ${milliseconds(p50)} · p95 ${milliseconds(p95)}`),
      make("span", { class: "hint" }, `${count(requests)} requests, ${count(failures)} failed, ${count(refused)} refused since the start`),
    ),
  ];
}
