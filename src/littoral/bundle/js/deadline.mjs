/**
 * @template T
 * @param {Promise<T>} work goes on when it is late; what becomes of it then is nobody's
 * @param {number} ms
 * @param {Error} late
 * @returns {Promise<T>} of `work`, or rejects with `late`
 */
export async function within(work, ms, late) {
  let timer;
  const end = new Promise((_, reject) => (timer = setTimeout(reject, ms, late)));
  try {
    return await Promise.race([work, end]);
  } finally {
    clearTimeout(timer);
  }
}
