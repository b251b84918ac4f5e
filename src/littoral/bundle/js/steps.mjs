import { tensorOf, valuesOf } from "./tensors.mjs";

const BLOCK = 128; // as numpy adds, so that the bits are those of a node

/** Steps that the host computes itself, by name: tensors in, tensors or hits out; what they are given stays as it is. */
export const STEPS = {
  normalize: (tensors) => mapped(tensors, byRow(normalized)),
  softmax: (tensors) => mapped(tensors, byRow(softmax)),
  top_k: (tensors, { k, labels }) => topK(Object.values(tensors)[0], k, labels),
  threshold: (tensors, { at, by }) => (by === null ? mapped(tensors, (tensor) => atLeast(tensor, at)) : rowsAtLeast(tensors, by, at)),
  join: (tensors) => mapped(tensors, ({ dtype, shape, bytes }) => ({ dtype, shape, bytes: bytes.slice() })),
};

const mapped = (tensors, work) => Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, work(tensor)]));

/** A copy, each row along the last dimension changed in place. */
function byRow(work) {
  return ({ dtype, shape, bytes }) => {
    const made = { dtype, shape, bytes: bytes.slice() };
    const values = valuesOf(made);
    const size = shape.at(-1);
    for (let at = 0; at < values.length; at += size) work(values.subarray(at, at + size));
    return made;
  };
}

/** Length 1; what is zero stays zero. Squares are added in double precision, pairwise. */
function normalized(row) {
  const squares = Float64Array.from(row, (value) => value * value);
  const length = Math.sqrt(pairwise(squares, 0, squares.length)) || 1;
  for (let i = 0; i < row.length; i++) row[i] /= length;
}

/** Exponentials that sum to 1, computed in double precision. */
function softmax(row) {
  const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const raised = Float64Array.from(row, (value) => Math.exp(value - most));
  const sum = pairwise(raised, 0, raised.length);
  for (let i = 0; i < row.length; i++) row[i] = raised[i] / sum;
}

/** The largest of each row, largest first, ties by index, what is no number last; hits where there are names. */
function topK(tensor, k, labels) {
  const { dtype, shape } = tensor;
  const values = valuesOf(tensor);
  const size = shape.at(-1);
  const made = [...shape.slice(0, -1), k];
  const [scores, indices] = [tensorOf(dtype, made), tensorOf("int64", made)];
  const [scored, indexed] = [valuesOf(scores), valuesOf(indices)];
  for (let row = 0; row * size < values.length; row++) {
    const best = largest(values.subarray(row * size, (row + 1) * size), k);
    scored.set(best.map((i) => values[row * size + i]), row * k);
    indexed.set(best.map(BigInt), row * k);
  }
  if (labels === null) return { scores, indices };
  return Array.from(indexed, (index, i) => ({ id: Number(index), score: scored[i], payload: { label: labels[index] } }));
}

function largest(row, k) {
  const key = Float64Array.from(row, (value) => (Number.isNaN(value) ? -Infinity : value));
  const rank = (i) => (Number.isNaN(row[i]) ? 1 : 0); // behind what is −∞
  const order = Array.from(row.keys()).sort((a, b) => rank(a) - rank(b) || (key[a] === key[b] ? 0 : key[b] - key[a]) || a - b);
  return order.slice(0, k);
}

function atLeast(tensor, at) {
  const least = leastOf(tensor, at);
  return tensorOf("bool", tensor.shape, Array.from(valuesOf(tensor), (value) => (value >= least ? 1 : 0)));
}

/** As numpy compares: in the tensor's own type. */
const leastOf = ({ dtype }, at) => (dtype === "float32" ? Math.fround(at) : at);

/** Of all tensors those rows where `by` is at least `at`. */
function rowsAtLeast(tensors, by, at) {
  const values = valuesOf(tensors[by]);
  const least = leastOf(tensors[by], at);
  const kept = Array.from(values.keys()).filter((i) => values[i] >= least);
  return mapped(tensors, ({ dtype, shape: [rows, ...inner], bytes }) => {
    if (rows !== values.length) throw new Error(`step \`threshold\`: ${rows} rows, \`${by}\` has ${values.length}`);
    const size = rows && bytes.length / rows;
    const made = new Uint8Array(kept.length * size);
    kept.forEach((row, i) => made.set(bytes.subarray(row * size, (row + 1) * size), i * size));
    return { dtype, shape: [kept.length, ...inner], bytes: made };
  });
}

function pairwise(values, from, count) {
  if (count > BLOCK) {
    const half = Math.floor(count / 2) - (Math.floor(count / 2) % 8);
    return pairwise(values, from, half) + pairwise(values, from + half, count - half);
  }
  if (count < 8) return inOrder(values, from, count, -0);
  const sums = values.slice(from, from + 8);
  const whole = count - (count % 8);
  for (let i = 8; i < whole; i += 8) for (let lane = 0; lane < 8; lane++) sums[lane] += values[from + i + lane];
  const [a, b, c, d, e, f, g, h] = sums;
  return inOrder(values, from + whole, count - whole, a + b + (c + d) + (e + f + (g + h)));
}

function inOrder(values, from, count, sum) {
  for (let i = 0; i < count; i++) sum += values[from + i];
  return sum;
}
