"""Which nodes a search asks: summaries of shards, certificate, estimate, calibration, audit, merge. Pure."""
