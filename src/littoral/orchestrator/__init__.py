"""One orchestrator of a fleet: registry, nodes and groups, rollouts, and what both sides ask it over HTTP.

It imports no node. What it decides about rollouts is pure (`rollouts`); everything it must not forget is a row of its
store before anybody is told of it.
"""
