/** The orchestrator's page that the address names. */

import { runPage } from "../framed.js";
import { auditPage } from "./audit.js";
import { claimsPage } from "./claims.js";
import { groupsPage } from "./groups.js";
import { inferencePage } from "./inference.js";
import { nodePage } from "./node.js";
import { nodesPage } from "./nodes.js";
import { registryPage } from "./registry.js";
import { rolloutsPage } from "./rollouts.js";
import { showFleet, showNoFleet } from "./top_bar.js";

const PAGES = {
  "": { title: "Fleet", show: nodesPage, twins: ["/api/fleet", "/api/fleet/nodes"] },
  node: { title: "Node", show: nodePage, twins: ["/api/fleet/nodes"] },
  rollouts: { title: "Rollouts", show: rolloutsPage, twins: ["/api/fleet/rollouts"] },
  registry: { title: "Registry", show: registryPage, twins: ["/api/fleet/artifacts", "/api/fleet/uploads"] },
  groups: { title: "Groups", show: groupsPage, twins: ["/api/fleet/groups"] },
  claims: { title: "Claims", show: claimsPage, twins: ["/api/fleet/claims"] },
  inference: { title: "Inference", show: inferencePage, twins: ["/api/fleet/inference"] },
  audit: { title: "Audit", show: auditPage, twins: ["/api/fleet/audit"] },
};

runPage(PAGES[location.pathname.split("/").at(-1)], { path: "/api/fleet", show: showFleet, fail: showNoFleet, named: ({ name }) => name });
