/** The page that the address names: its panels, the bar above them, the links to its JSON below. */

import { byId, make } from "../dom.js";
import { askForToken } from "../login.js";
import { showNoNode, showNode } from "../node/top_bar.js";
import { wireTheme } from "../theme.js";
import { watch } from "../watch.js";
import { agentsPage } from "./agents.js";
import { auditPage } from "./audit.js";
import { cachesPage } from "./caches.js";
import { collectionsPage } from "./collections.js";
import { doctorPage } from "./doctor.js";
import { logsPage } from "./logs.js";
import { modelsPage } from "./models.js";
import { mqttPage } from "./mqtt.js";
import { pipelinesPage } from "./pipelines.js";

const PERIOD_MS = 5_000;
const PAGES = {
  agents: { title: "Agents", show: agentsPage, twins: ["/api/agents"] },
  audit: { title: "Audit", show: auditPage, twins: ["/api/audit", "/api/audit/entries"] },
  caches: { title: "Caches", show: cachesPage, twins: ["/api/caches"] },
  collections: { title: "Collections", show: collectionsPage, twins: ["/api/collections"] },
  doctor: { title: "Doctor", show: doctorPage, twins: ["/api/doctor"] },
  logs: { title: "Logs", show: logsPage, twins: ["/api/logs"] },
  models: { title: "Models", show: modelsPage, twins: ["/api/models", "/api/builds"] },
  mqtt: { title: "MQTT", show: mqttPage, twins: ["/api/mqtt"] },
  pipelines: { title: "Pipelines", show: pipelinesPage, twins: ["/api/pipelines"] },
};

const page = PAGES[location.pathname.split("/").at(-1)];
const link = document.querySelector(".sections [aria-current]");
link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.clientWidth / 2; // a phone shows some of them
byId("twins").append("The same as JSON: ", ...page.twins.flatMap((path, i) => [i ? " · " : "", make("a", { href: path }, path)]));
document.title = `${page.title} · Littoral`;

const recoloured = page.show(byId("page"));
wireTheme(byId("theme"), recoloured ?? (() => {}));
const node = watch("/api/node", PERIOD_MS, {
  show: (value) => {
    showNode(value);
    document.title = `${page.title} · ${value.name} · Littoral`;
  },
  fail: (error) => {
    showNoNode(error);
    if (error.status === 401) askForToken();
  },
});
for (const change of ["online", "offline"]) addEventListener(change, () => node.refresh());
