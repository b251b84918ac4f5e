"""A pipeline out of its node: files that run it in a worker, a browser, Node or a small device, without Littoral."""
