/** Numbers as people read them. Pure. */

const NARROW_SPACE = "\u202f";
const grouped = new Intl.NumberFormat("en");

/** A whole number; a dash for one that is not known. */
export const count = (value) => (value === null || value === undefined ? "–" : grouped.format(value));

/** A number with the noun that it counts. */
export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** Milliseconds with three meaning digits. */
export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)}${NARROW_SPACE}ms`;
}

export const bytes = (value) => scaled(value, ["B", "kB", "MB", "GB", "TB"]);

export const multiplyAdds = (value) => scaled(value, ["", "k", "M", "G", "T"]);

function scaled(value, units) {
  let size = value;
  let step = 0;
  while (size >= 999.5 && step < units.length - 1) {
    size /= 1000;
    step += 1;
  }
  const digits = step === 0 || size >= 100 ? 0 : 1;
  return `${size.toFixed(digits)}${NARROW_SPACE}${units[step]}`.trimEnd();
}

/** Seconds as the two largest units: `3 h 12 min`. */
export function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  return units
    .slice(first, first + 2)
    .map(([name, size], i) => [name, Math.floor((i ? seconds % units[first][1] : seconds) / size)])
    .filter(([, value]) => value > 0)
    .map(([name, value]) => `${value}${NARROW_SPACE}${name}`)
    .join(" ");
}

export const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}${NARROW_SPACE}%`;

/** A tensor's type, `?` for a size that may vary. */
export function tensorType({ dtype, shape }) {
  return `${dtype}[${shape.map((size) => (size < 0 ? "?" : size)).join(", ")}]`;
}

/** A moment, given as Unix seconds or ISO 8601, as Unix seconds. */
export const unixSeconds = (moment) => (typeof moment === "number" ? moment : Date.parse(moment) / 1000);

/** Unix seconds as the time of day. */
export function timeOfDay(seconds) {
  const moment = new Date(seconds * 1000);
  return [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}
