const BLOCK = 128; // as numpy adds, so that the bits are those of a node

/** Steps behind the model, by name; each changes the values in place. */
export const STEPS = { normalize: normalized };

/**
 * Length 1; what is zero stays zero. Squares are added in double precision, pairwise.
 * @param {Float32Array} values
 */
function normalized(values) {
  const squares = Float64Array.from(values, (value) => value * value);
  const length = Math.sqrt(pairwise(squares, 0, squares.length)) || 1;
  for (let i = 0; i < values.length; i++) values[i] /= length;
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
