"""MQTT routes of a node: topic → pipeline → topic, QoS 1 acknowledged when all is done (docs/reference/mqtt.md)."""
