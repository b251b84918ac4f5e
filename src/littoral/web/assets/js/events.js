/** Server-sent events, connected again for as long as the page is open. */

const PAUSE_MS_MIN = 1_000;
const PAUSE_MS_MAX = 30_000;

/** Calls `receive(data)` for each event called `name` (or one of several), and `connected(isConnected)` when that changes. */
export function listen(path, name, { receive, connected }) {
  let pauseMs = PAUSE_MS_MIN;

  function connect() {
    const source = new EventSource(path);
    for (const one of [name].flat()) source.addEventListener(one, (event) => receive(JSON.parse(event.data)));
    source.addEventListener("open", () => {
      pauseMs = PAUSE_MS_MIN;
      connected(true);
    });
    source.addEventListener("error", () => {
      connected(false);
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      setTimeout(connect, pauseMs);
      pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX);
    });
  }

  connect();
}
