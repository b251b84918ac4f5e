import "./littoral-similar.mjs";

await navigator.serviceWorker?.register("./offline.js");
