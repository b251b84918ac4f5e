/** How the gateway's numbers and outcomes are called. Touches no element. */

import { duration } from "../format.js";

/** By what the header `x-littoral-cache` says, in the order in which they are shown. */
export const OUTCOMES = {
  hit: { title: "Same request", tint: 1 },
  semantic: { title: "Similar question", tint: 4 },
  stale: { title: "Expired, service away", tint: 2 },
  explore: { title: "Asked to learn", tint: 0 },
  miss: { title: "Asked", tint: 5 },
  off: { title: "Not cached", tint: "rest" },
};

/** Money: two digits, more where it is little. */
export const amount = (value) => (value === 0 || value >= 1 ? value.toFixed(2) : value >= 0.01 ? value.toFixed(3) : value.toPrecision(2));

/** A similarity or a threshold; a dash for none. */
export const similar = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));

export const span = (seconds) => (seconds === 1 ? "a second" : seconds === 60 ? "a minute" : seconds === 86400 ? "a day" : duration(seconds));

/** Shares down to a hundredth of a percent, as bounds need them. */
export const fine = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(share < 0.0995 ? 2 : 1)} %`);
