"""How a node gets from one deployment to the next, and back: states, slots, gates, journal. No clock, no network.

`machine` is pure: a journal and an event give the next journal. `deployments` keeps it on a disk, each step durable
before it counts. What the node does at each step stands in `littoral.node.updates`.
"""
