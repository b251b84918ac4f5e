/** The one door to uPlot. */

import { timeOfDay } from "./format.js";

const { uPlot } = globalThis;
const HEIGHT = 184;
const TICKS_S = [10, 20, 30, 60, 120, 300, 600];
const TIMES_S = [60, 300, 600, 1800, 3600, 7200, 14400, 21600];
const DOT = 6;
const RING = 9;

/**
 * Dots over time. series: [{name, tint, isRing?}]; `now()` is the right edge in Unix seconds, `spanS` the width.
 * `pointed(index)` tells what the pointer is on, null for nothing. columns: Unix seconds, then one list per series.
 */
export function dotChart(element, series, { now, spanS, unit, pointed }) {
  const { colour, axis, frame } = basis(element);
  const options = {
    ...frame,
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
  return drawn(element, options);
}

/**
 * Lines and dots over numbers. series: [{name, tint, isFilled?, isDots?, isGapless?}]. x, y: {range: [low, high] or none, say(value)}; x: isTime where it is Unix seconds.
 * lines: {x, y}, a straight line at each that is a number. `pointed(index)` as above.
 */
export function lineChart(element, series, { x, y, lines = {}, pointed = () => {} }) {
  const { colour, axis, frame } = basis(element);
  const say = (said) => (_plot, splits) => splits.map(said);
  const options = {
    ...frame,
    padding: [8, 20, 0, 0],
    scales: { x: { time: false, ...(x.range ? { range: () => x.range } : {}) }, y: y.range ? { range: () => y.range } : {} },
    axes: [
      { ...axis, size: 28, space: 72, values: say(x.say), ...(x.isTime ? { incrs: TIMES_S } : {}) },
      { ...axis, size: 60, space: 36, values: say(y.say) },
    ],
    series: [{}, ...series.map((one) => (one.isDots ? dots(one, colour) : line(one, colour)))],
    hooks: { setCursor: [(plot) => pointed(plot.cursor.idx ?? null)], draw: [(plot) => straight(plot, lines, colour)] },
  };
  return drawn(element, options);
}

function line({ name, tint, isFilled, isGapless }, colour) {
  const ink = () => colour(`--tint-${tint}`);
  return { label: name, stroke: ink, width: 2, fill: isFilled ? () => faint(ink()) : undefined, spanGaps: Boolean(isGapless), points: { show: !isGapless, size: 4, stroke: ink, fill: ink } };
}

const faint = (ink) => ink.replace("rgb(", "rgba(").replace(")", ", 0.16)");

/** Across the whole of the plot, at a value of either axis. */
function straight(plot, { x, y }, colour) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour("--tint-rest");
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  if (typeof y === "number") {
    const at = plot.valToPos(y, "y", true);
    ctx.moveTo(bbox.left, at);
    ctx.lineTo(bbox.left + bbox.width, at);
  }
  if (typeof x === "number") {
    const at = plot.valToPos(x, "x", true);
    ctx.moveTo(at, bbox.top);
    ctx.lineTo(at, bbox.top + bbox.height);
  }
  ctx.stroke();
  ctx.restore();
}

function basis(element) {
  const colour = colours(element);
  const axis = { stroke: () => colour("--muted"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, font: `12px ${getComputedStyle(element).fontFamily}` };
  const frame = { width: element.clientWidth, height: HEIGHT, padding: [8, 8, 0, 0], legend: { show: false }, cursor: { y: false, drag: { x: false, y: false } } };
  return { colour, axis, frame };
}

function drawn(element, options) {
  const plot = new uPlot(options, options.series.map(() => []), element);
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
