/** What happens in the fleet, as it happens. */

import { listen } from "../events.js";

const PATH = "/api/fleet/events";
const SOON_MS = 300;

/** Calls `changed()` soon after events of these kinds, once for many; `live` tells whether they come. */
export function followed(kinds, changed, live) {
  let timer = 0;
  const soon = () => {
    timer ||= setTimeout(() => {
      timer = 0;
      changed();
    }, SOON_MS);
  };
  listen(PATH, kinds, {
    receive: soon,
    connected: (isConnected) => {
      live.dataset.state = isConnected ? "good" : "warn";
      live.textContent = isConnected ? "Live" : "Connecting";
      if (isConnected) soon();
    },
  });
}
