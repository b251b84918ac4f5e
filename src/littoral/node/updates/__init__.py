"""How a node of a fleet takes what it is told: the glue between `littoral.updates` and what serves here.

Nothing of it is imported by a node whose site file has no table `updates`.
"""
