/** The one door to uPlot. */

import { timeOfDay } from "./format.js";

const { uPlot } = globalThis;
const HEIGHT = 184;
const TICKS_S = [10, 20, 30, 60, 120, 300, 600];
const DOT = 6;
const RING = 9;

/**
 * Dots over time. series: [{name, tint, isRing?}]; `now()` is the right edge in Unix seconds, `spanS` the width.
 * `pointed(index)` tells what the pointer is on, null for nothing. columns: Unix seconds, then one list per series.
 */
export function dotChart(element, series, { now, spanS, unit, pointed }) {
  const colour = colours(element);
  const axis = { stroke: () => colour("--muted"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, font: `12px ${getComputedStyle(element).fontFamily}` };
  const options = {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: {
      x: { range: () => [now() - spanS, now()] },
      y: { range: (_plot, _low, high) => [0, high === null ? 50 : Math.max(1, high * 1.15)] },
    },
    axes: [
      { ...axis, size: 28, space: 72, incrs: TICKS_S, values: (_plot, splits) => splits.map(timeOfDay) },
      { ...axis, size: 60, space: 36, values: (_plot, splits) => splits.map((value) => `${value} ${unit}`) },
    ],
    series: [{}, ...series.map((one) => dots(one, colour))],
    hooks: { setCursor: [(plot) => pointed(plot.cursor.idx ?? null)] },
  };
  const plot = new uPlot(options, [[], ...series.map(() => [])], element);
  const watcher = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
  watcher.observe(element);
  return {
    show: (columns) => plot.setData(columns),
    recolour() {
      plot.redraw();
      plot.setCursor({ left: plot.cursor.left, top: plot.cursor.top }); // what is under the pointer has colours of its own
    },
    close: () => {
      watcher.disconnect();
      plot.destroy();
    },
  };
}

function dots({ name, tint, isRing }, colour) {
  const ink = () => colour(`--tint-${tint}`);
  const form = isRing ? { size: RING, width: 2, fill: "transparent" } : { size: DOT, width: 0, fill: ink };
  return { label: name, paths: () => null, stroke: ink, points: { show: true, stroke: ink, ...form } };
}

/** Reads colours as the browser resolves them: a canvas understands neither `var()` nor `light-dark()`. */
function colours(element) {
  const probe = document.createElement("span");
  probe.hidden = true;
  element.append(probe);
  return (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
}
