/** Requests of the last minute, a bar a second. */

import { draw } from "../dom.js";

const SECONDS = 60;
const HEIGHT = 24;

/** seen: [{at, ok}], `at` and `now` in milliseconds of the same clock. */
export function rateBars(seen, now) {
  const bins = Array.from({ length: SECONDS }, () => ({ good: 0, failed: 0 }));
  for (const { at, ok } of seen) {
    const bin = bins[SECONDS - 1 - Math.floor((now - at) / 1000)];
    if (bin) bin[ok ? "good" : "failed"] += 1;
  }
  const most = Math.max(1, ...bins.map(({ good, failed }) => good + failed));
  const bars = bins.flatMap(({ good, failed }, i) => {
    const [whole, bad] = [good + failed, failed].map((value) => (HEIGHT * value) / most);
    return [
      whole > 0 ? draw("rect", { class: "tint-1", x: i, y: HEIGHT - whole, width: 0.8, height: whole }) : null,
      bad > 0 ? draw("rect", { class: "tint-failed", x: i, y: HEIGHT - bad, width: 0.8, height: bad }) : null,
    ];
  });
  const label = `Requests a second of the last minute: ${seen.length} in all, at most ${most === 1 && seen.length === 0 ? 0 : most}`;
  return draw("svg", { class: "rate-bars", viewBox: `0 0 ${SECONDS} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, bars);
}
