/** Reading one of the node's `/api` resources now and again, while the page is looked at. */

import { NodeError, getJson } from "./api.js";

/**
 * path: or a function that gives it. Calls `show(value)` after every reading, `fail(error, isFirst)` where there was none.
 * `refresh()` reads at once; `latest` is the last value, undefined before the first.
 */
export function watch(path, periodMs, { show, fail }) {
  let latest;
  let timer = 0;
  let reading = null;

  async function read() {
    let value;
    try {
      value = await getJson(typeof path === "function" ? path() : path);
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      fail(error, latest === undefined);
      return;
    }
    latest = value;
    show(value);
  }

  function refresh() {
    clearTimeout(timer);
    reading ??= read().finally(() => {
      reading = null;
      if (!document.hidden) timer = setTimeout(refresh, periodMs);
    });
    return reading;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
  refresh();
  return {
    refresh,
    get latest() {
      return latest;
    },
  };
}
