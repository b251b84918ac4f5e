// The page without a network: its files, from the time when it was installed, by version.
const VERSION = "$version";
const FILES = $files;

addEventListener("install", (event) => {
  event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(FILES)).then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  const dropOthers = async () => {
    const others = (await caches.keys()).filter((name) => name.startsWith("$pipeline/") && name !== VERSION);
    await Promise.all(others.map((name) => caches.delete(name)));
    await clients.claim();
  };
  event.waitUntil(dropOthers());
});

addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== location.origin) return;
  const known = async () => (await (await caches.open(VERSION)).match(event.request)) ?? fetch(event.request);
  event.respondWith(known());
});
