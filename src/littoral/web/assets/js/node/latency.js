/** Live latency: a dot for every request the node answers, and a table of percentiles. */

import { dotChart } from "../chart.js";
import { byId, make, swatch, table } from "../dom.js";
import { listen } from "../events.js";
import { count, milliseconds, timeOfDay, unixSeconds } from "../format.js";
import { RequestWindow } from "./request_window.js";
import { tintOf } from "./stages.js";
import { setState } from "./top_bar.js";

const SPAN_S = 120;
const SLIDE_MS = 1_000;
const EXPLANATION = byId("chart-readout").textContent;
const NOTHING = "No request in the last two minutes";
const COLUMNS = [
  { title: "Pipeline" },
  { title: "Requests", number: true },
  { title: "Failed", number: true, less: true },
  { title: "p50", number: true },
  { title: "p95", number: true },
];

/** requested(): called after each request the node tells of. connected(): when it was lost or is found again. */
export function makeLatency({ requested, connected }) {
  const shown = new RequestWindow(SPAN_S);
  let names = [];
  let chart = null;
  let aheadS = 0; // of the node's clock, to this browser's
  let frame = 0;
  let pointedAt = null;

  const now = () => Date.now() / 1000 + aheadS;

  function show() {
    frame = 0;
    shown.forgetBefore(now());
    chart?.show(shown.columns(names));
    byId("chart").setAttribute("aria-label", summary(shown.requests));
    tell();
  }

  function tell() {
    byId("chart-readout").textContent = readout(shown.requests, pointedAt);
  }

  function showSoon() {
    if (!document.hidden) frame ||= requestAnimationFrame(show);
  }

  function setNames(wanted) {
    if (chart && wanted.join("\n") === names.join("\n")) return;
    names = wanted;
    chart?.close();
    const series = [...names.map((name, i) => ({ name, tint: tintOf(i + 1) })), { name: "failed", tint: "failed", isRing: true }];
    chart = dotChart(byId("chart"), series, { now, spanS: SPAN_S, unit: "ms", pointed });
    byId("chart-legend").replaceChildren(...series.map(({ name, tint }) => make("li", {}, swatch(tint), name)));
    show();
  }

  function pointed(index) {
    pointedAt = index;
    tell();
  }

  listen("/api/events", "request", {
    receive: (event) => {
      shown.add({ ...event, at: unixSeconds(event.at) });
      if (!names.includes(event.pipeline)) setNames([...names, event.pipeline]);
      showSoon();
      requested();
    },
    connected: (isConnected) => {
      setState(byId("live"), isConnected ? "good" : "warn", isConnected ? "Live" : "Connecting");
      connected();
    },
  });
  setInterval(showSoon, SLIDE_MS);

  return {
    recolour: () => chart?.recolour(),
    showNode: ({ started_at, uptime_s }) => (aheadS = unixSeconds(started_at) + uptime_s - Date.now() / 1000),
    showPipelines(pipelines) {
      const listed = pipelines.map(({ name }) => name);
      setNames([...listed, ...names.filter((name) => !listed.includes(name))]);
      byId("latency-table").classList.remove("waiting");
      byId("latency-table").replaceChildren(percentiles(pipelines));
    },
  };
}

function percentiles(pipelines) {
  const rows = pipelines.map(({ name, requests, failures, p50_ms, p95_ms }) => [
    name, count(requests), count(failures), milliseconds(p50_ms), milliseconds(p95_ms),
  ]);
  return table("Requests and milliseconds by pipeline", COLUMNS, rows, { class: "latency-table" });
}

/** The request under the pointer, in words. */
function readout(requests, index) {
  if (requests.length === 0) return NOTHING;
  const request = requests[index];
  if (!request) return EXPLANATION;
  return `${timeOfDay(request.at)} · ${request.pipeline} · ${milliseconds(request.total_ms)}${request.ok ? "" : " · failed"}`;
}

function summary(requests) {
  const last = requests.at(-1);
  if (!last) return NOTHING;
  return `${requests.length} requests in the last two minutes, the latest: ${last.pipeline} in ${milliseconds(last.total_ms)}`;
}
