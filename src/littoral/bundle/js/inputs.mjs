import { tensorsOf } from "./frame.mjs";
import { checkedPicture } from "./picture.mjs";
import { Refusal } from "./refusal.mjs";
import { countOf, elementBytes, tensorOf, valuesOf } from "./tensors.mjs";

const RECORD = 0x1e; // begins a JSON text sequence: several texts
const RANK_MAX = 32;

/**
 * What a pipeline takes, of a body's or a file's bytes. Refuses what no guest should begin with.
 * @param {Uint8Array} bytes
 * @param {{kind: "picture" | "text" | "bytes" | "tensors", ports: {name: string, dtype: string, shape: number[]}[]}} takes
 * @param {number} sideMax most pixels on a side of a picture
 * @param {string} [type] content type; tensors are JSON or a frame
 */
export function inputOf(bytes, takes, sideMax, type = "") {
  if (takes.kind === "picture") checkedPicture(bytes, sideMax);
  else if (bytes.length === 0) throw new Refusal(400, `body is empty, expected ${takes.kind}`);
  if (takes.kind === "text" && bytes[0] === RECORD) throw new Refusal(422, "body begins with 0x1E, expected one text as it is");
  return takes.kind === "tensors" ? checkedTensors(given(bytes, takes, type), takes.ports) : bytes;
}

function given(bytes, { ports }, type) {
  try {
    return type === "application/json" ? ofJson(bytes, ports) : tensorsOf(bytes);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(400, `input: ${error.message}`);
  }
}

function ofJson(bytes, ports) {
  const { inputs } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  const found = Object.create(null);
  for (const { name, dtype } of ports)
    if (inputs != null && Object.hasOwn(inputs, name)) found[name] = ofRows(inputs[name], name, dtype);
  for (const name of Object.keys(inputs ?? {}))
    if (!(name in found)) throw new Refusal(400, `input \`${name.slice(0, 80)}\` is unknown, takes ${takesText(ports)}`);
  return found;
}

function ofRows(rows, name, dtype) {
  const shape = [];
  for (let row = rows; Array.isArray(row) && shape.length < RANK_MAX; row = row[0]) shape.push(row.length);
  if (isInRows(rows, shape)) {
    const flat = shape.length ? rows.flat(RANK_MAX) : [rows];
    const tensor = tensorOf(dtype, shape, dtype.includes("int64") ? flat.map(BigInt) : flat);
    if (dtype.startsWith("float") || valuesOf(tensor).every((value, i) => Number(value) === Number(flat[i]))) return tensor;
  }
  throw new Refusal(400, `input \`${name}\` is no ${dtype} in rows of one length`);
}

function isInRows(rows, [size, ...inner]) {
  if (size === undefined) return typeof rows === "number" || typeof rows === "boolean";
  return Array.isArray(rows) && rows.length === size && rows.every((row) => isInRows(row, inner));
}

function checkedTensors(tensors, ports) {
  for (const { name, dtype, shape } of ports) {
    const found = tensors[name];
    const fits =
      found?.dtype === dtype &&
      Array.isArray(found.shape) &&
      found.shape.length === shape.length &&
      found.shape.every((size, at) => Number.isSafeInteger(size) && size >= 0 && (shape[at] < 0 || size === shape[at])) &&
      found.bytes.length === countOf(found.shape) * elementBytes(dtype);
    if (!fits) throw new Refusal(400, `input: expected ${takesText(ports)}`);
  }
  return tensors;
}

function takesText(ports) {
  const sizes = (shape) => shape.map((size) => (size < 0 ? "?" : size)).join(", ");
  return ports.map(({ name, dtype, shape }) => `\`${name}\` ${dtype}[${sizes(shape)}]`).join(", ");
}
