/** The page that the address names. */

import { runPage } from "../framed.js";
import { showNoNode, showNode } from "../node/top_bar.js";
import { agentsPage } from "./agents.js";
import { auditPage } from "./audit.js";
import { cachesPage } from "./caches.js";
import { collectionsPage } from "./collections.js";
import { doctorPage } from "./doctor.js";
import { gatewayPage } from "./gateway.js";
import { logsPage } from "./logs.js";
import { modelsPage } from "./models.js";
import { mqttPage } from "./mqtt.js";
import { pipelinesPage } from "./pipelines.js";

const PAGES = {
  agents: { title: "Agents", show: agentsPage, twins: ["/api/agents"] },
  audit: { title: "Audit", show: auditPage, twins: ["/api/audit", "/api/audit/entries"] },
  caches: { title: "Caches", show: cachesPage, twins: ["/api/caches"] },
  collections: { title: "Collections", show: collectionsPage, twins: ["/api/collections"] },
  doctor: { title: "Doctor", show: doctorPage, twins: ["/api/doctor"] },
  gateway: { title: "Gateway", show: gatewayPage, twins: ["/api/gateway", "/api/gateway/entries", "/api/gateway/misses"] },
  logs: { title: "Logs", show: logsPage, twins: ["/api/logs"] },
  models: { title: "Models", show: modelsPage, twins: ["/api/models", "/api/builds"] },
  mqtt: { title: "MQTT", show: mqttPage, twins: ["/api/mqtt"] },
  pipelines: { title: "Pipelines", show: pipelinesPage, twins: ["/api/pipelines"] },
};

runPage(PAGES[location.pathname.split("/").at(-1)], { path: "/api/node", show: showNode, fail: showNoNode, named: ({ name }) => name });
