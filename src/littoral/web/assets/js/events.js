/** Server-sent events, connected again for as long as the page is open. */

const PAUSE_MS_MIN = 1_000;
const PAUSE_MS_MAX = 30_000;

/** Calls `receive(data)` for each event called `name` (or one of several), and `connected(isConnected)` when that changes. */
export function listen(path, name, { receive, connected }) {
  let pauseMs = PAUSE_MS_MIN;
  let source = null;
  let timer = 0;

  function connect() {
    const own = (source = new EventSource(path));
    for (const one of [name].flat()) own.addEventListener(one, (event) => receive(JSON.parse(event.data)));
    own.addEventListener("open", () => {
      pauseMs = PAUSE_MS_MIN;
      connected(true);
    });
    own.addEventListener("error", () => {
      connected(false);
      if (own.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      timer = setTimeout(connect, pauseMs);
      pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX);
    });
  }

  // A page that is left is kept for the way back, with its connection: of the six that a browser has for an address.
  addEventListener("pagehide", () => {
    clearTimeout(timer);
    source.close();
  });
  addEventListener("pageshow", ({ persisted }) => {
    if (!persisted) return;
    connected(false);
    connect();
  });
  connect();
}
