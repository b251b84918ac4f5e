"""The connection to an MQTT broker that node and orchestrator share: opened again when it ends, bounded, one thread."""
