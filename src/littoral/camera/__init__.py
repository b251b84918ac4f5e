"""`littoral camera`: frames of a file, a stream or a device, to a node. A process of its own, never part of one."""
