"""From distances to alerts: subscribes `distances/+`, publishes `alerts/MACHINE` (extra `littoral[mqtt]`).

    python examples/vibration/alert.py --broker 127.0.0.1

One window beyond the limit may be chance: an alert takes three of the last five.
"""

import argparse
import json
from collections import defaultdict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Watch"]

LIMIT = json.loads((Path(__file__).parent / "figures.json").read_text())["limit"]
WINDOWS, NEEDED = 5, 3


class Watch:
    """One machine's last windows."""

    def __init__(self, limit: float = LIMIT) -> None:
        self.limit = limit
        self.recent: deque[bool] = deque(maxlen=WINDOWS)

    def judge(self, answer: Mapping[str, Any]) -> dict[str, Any] | None:
        """An alert, or nothing. answer: of the pipeline `watch`."""
        if not answer["result"]:
            return None  # nothing is known to be good yet
        distance = answer["result"][0]["score"]
        self.recent.append(distance > self.limit)
        if sum(self.recent) < NEEDED:
            return None
        return {"distance": distance, "limit": self.limit, "windows": sum(self.recent)}


def main() -> None:
    import paho.mqtt.client as mqtt

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    asked = parser.parse_args()
    watches: defaultdict[str, Watch] = defaultdict(Watch)

    def told(client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        machine = message.topic.partition("/")[2]
        if (alert := watches[machine].judge(json.loads(message.payload))) is not None:
            client.publish(f"alerts/{machine}", json.dumps(alert), qos=1)

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe("distances/+", qos=1)
    client.on_message = told
    client.connect(asked.broker, asked.port)
    client.loop_forever()


if __name__ == "__main__":
    main()
