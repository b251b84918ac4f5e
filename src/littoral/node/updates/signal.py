"""The MQTT topic whose messages make a node check in at once. What they say is not read: it is no more than a ring."""

import random
from collections.abc import Callable

from littoral.clock import Clock
from littoral.errors import SetupError
from littoral.node.site import Site

__all__ = ["mqtt_signal"]


async def mqtt_signal(site: Site, topic: str, ring: Callable[[], None], clock: Clock, rng: random.Random) -> None:
    """Until it is cancelled; a broker that is away is asked again and again. Raises SetupError without `mqtt`."""
    try:
        from littoral.mqtt.connection import Session
        from littoral.mqtt.link import Link, Subscription
    except ModuleNotFoundError as error:
        raise SetupError("`updates.mqtt` needs paho-mqtt", hint="pip install 'littoral[mqtt]'") from error
    from littoral.tables.broker import broker_of

    assert site.mqtt is not None
    link = Link(
        broker_of(site.mqtt, site.path_of),
        Session(f"{site.mqtt.client_id or site.node.name}.updates"),
        subscription=Subscription(topic, 0),
        on_message=lambda _: ring(),
        rng=rng,
        clock=clock,
    )
    await link.stay()
