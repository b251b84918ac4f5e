"""What MQTT routes decide, without a broker: topics, queues, what comes again, what is worth another try."""

import random
from pathlib import Path
from typing import Any

import pytest

from littoral.errors import (
    AgentError,
    DeadlineError,
    InputError,
    NotFoundError,
    SettingError,
    TooLargeError,
    TrapError,
    UnavailableError,
)
from littoral.mqtt.back_off import BackOff
from littoral.mqtt.broker import Credentials, parse_broker
from littoral.mqtt.message import Message
from littoral.node.mqtt.again import Again
from littoral.node.mqtt.done import DIGEST_BYTES
from littoral.node.mqtt.judgement import Verdict, judged
from littoral.node.mqtt.queue import Bounds, Queue
from littoral.node.mqtt_topics import caught, check_filter, check_template, check_topic, filled, shared
from littoral.node.origin import Origin
from littoral.node.site import parse_site
from littoral.node.upsert_step import payload_of, point_id


class Connection:
    """Where a message came from: what of it was acknowledged."""

    def __init__(self) -> None:
        self.is_open = True
        self.acknowledged: list[int] = []

    def acknowledge(self, number: int) -> None:
        assert self.is_open
        self.acknowledged.append(number)

    def pause(self) -> None:
        raise AssertionError("nothing is read here")

    def resume(self) -> None:
        raise AssertionError("nothing is read here")


def message(number: int = 1, **given: Any) -> Message:
    values: dict[str, Any] = {
        "topic": "t",
        "payload": b"x" * 10,
        "qos": 1,
        "number": number,
        "is_again": False,
        "connection": Connection(),
        "arrived_at": 0.0,
        "size": 10,
    }
    return Message(**(values | given))


@pytest.mark.parametrize(
    ("topic_filter", "topic", "found"),
    [
        ("a/+/c", "a/b/c", ("b",)),
        ("a/+/c", "a/b/d", None),
        ("a/+/c", "a//c", ("",)),
        ("a/#", "a/b/c", ("b/c",)),
        ("a/#", "a", ("",)),
        ("+/+", "/x", ("", "x")),
        ("+", "a/b", None),
        ("#", "a/b", ("a/b",)),
        ("#", "$SYS/x", None),
        ("+/x", "$SYS/x", None),
        ("$SYS/#", "$SYS/x", ("x",)),
        ("a/b", "a/b", ()),
        ("a/b", "a/b/c", None),
        ("a/b/c", "a/b", None),
    ],
)
def test_filters_as_the_standard_says(topic_filter: str, topic: str, found: tuple[str, ...] | None) -> None:
    check_filter(topic_filter)
    assert caught(topic_filter, topic) == found


@pytest.mark.parametrize("text", ["", "a/#/b", "a+/b", "a/b#", "a\0b", "$share/g/a", "x" * 2000])
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(InputError):
        check_filter(text)


def test_templates_name_what_was_caught() -> None:
    check_template("answers/{1}/{2}/{id}", "a/+/b/#", ("id",))
    assert filled("answers/{1}/{2}/{id}", ("x", "y/z"), {"id": "7"}) == "answers/x/y/z/7"
    with pytest.raises(InputError, match=r"`\{2\}` is unknown here, known: `\{1\}`"):
        check_template("answers/{2}", "a/+")
    with pytest.raises(InputError, match="messages would go round for ever"):
        check_template("a/{1}", "a/+")
    with pytest.raises(InputError, match="has a wildcard"):
        filled("answers/{id}", (), {"id": "a/#"})
    with pytest.raises(InputError, match="wildcard"):
        check_topic("a/+")


def test_share_groups() -> None:
    assert shared("a/+", None) == "a/+"
    assert shared("a/+", "g.1") == "$share/g.1/a/+"
    with pytest.raises(InputError):
        shared("a", "g/1")


def test_a_full_queue_drops_the_oldest_of_qos_0_alone() -> None:
    queue = Queue(Bounds(count_max=2))
    first, second, third = (message(i, qos=0) for i in range(3))
    assert queue.put(first) == queue.put(second) == []
    assert queue.put(third) == [(first, "full")]
    assert queue.put(message(4, qos=1)) == [(second, "full")]
    assert queue.put(message(5, qos=1)) == [(third, "full")]
    assert queue.put(message(6, qos=1)) == []
    assert queue.is_over
    assert queue.forget_acknowledgeable() == 3
    assert (len(queue), queue.size_bytes, queue.is_over) == (0, 0, False)


def test_a_queue_is_bounded_in_bytes() -> None:
    queue = Queue(Bounds(bytes_max=25))
    for i in range(3):
        dropped = queue.put(message(i, qos=0))
    assert [reason for _, reason in dropped] == ["full"]
    assert queue.size_bytes == 20


def test_the_latest_of_each_topic() -> None:
    queue = Queue(Bounds(keeps_latest=True))
    old, other, new = message(1, topic="a"), message(2, topic="b"), message(3, topic="a", payload=b"yy")
    assert queue.put(old) == queue.put(other) == []
    assert queue.put(new) == [(old, "superseded")]
    assert queue.size_bytes == 12
    assert [queue.take(0)[0] for _ in range(3)] == [new, other, None]


def test_what_waited_for_too_long_is_dropped() -> None:
    queue = Queue(Bounds(age_s=1.0))
    old, new = message(1), message(2, arrived_at=1.5)
    queue.put(old)
    queue.put(new)
    assert queue.oldest_s(1.25) == 1.25
    assert queue.take(2.0) == (new, [(old, "aged")])
    assert queue.oldest_s(9) == 0


def test_a_random_queue_never_loses_count() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        bounds = Bounds(rng.randint(1, 5), rng.choice([20, 1000]), rng.choice([None, 3.0]), rng.random() < 0.5)
        queue, put, gone, now = Queue(bounds), 0, 0, 0.0
        for number in range(100):
            now += rng.random()
            if rng.random() < 0.6:
                given = message(number, topic=rng.choice("ab"), qos=rng.randint(0, 1), arrived_at=now)
                gone += len(queue.put(given))
                put += 1
            elif rng.random() < 0.9:
                taken, aged = queue.take(now)
                gone += len(aged) + (taken is not None)
            else:
                gone += queue.forget_acknowledgeable()
            assert put == gone + len(queue), seed
            assert queue.size_bytes == 10 * len(queue), seed


def test_a_message_that_comes_again_while_it_is_worked_on_is_acknowledged_where_it_came_last() -> None:
    again, first, second = Again(), Connection(), Connection()
    given = message(7, connection=first)
    work = again.begin(given)
    first.is_open = False
    assert again.is_known(message(3, connection=second, is_again=True))
    again.end(work)
    assert (first.acknowledged, second.acknowledged, again.count) == ([], [3], 1)


def test_a_message_that_comes_again_when_it_is_done_is_acknowledged_once() -> None:
    again, first, second = Again(), Connection(), Connection()
    for number in range(2):  # two of the same content
        work = again.begin(message(number, connection=first))
        first.is_open = number == 0
        again.end(work)
    assert first.acknowledged == [0]
    assert not again.is_known(message(8, connection=second))  # not again, but new
    assert again.is_known(message(8, connection=second, is_again=True))
    assert not again.is_known(message(9, connection=second, is_again=True))
    assert second.acknowledged == [8]


def test_a_message_with_an_id_is_known_when_its_acknowledgement_was_lost() -> None:
    again, connection = Again(done_count_max=2), Connection()
    named = {"connection": connection, "properties": {"id": "7"}}
    again.end(again.begin(message(1, **named)))
    assert again.is_known(message(2, is_again=True, **named))
    assert not again.is_known(message(3, **named))  # its publisher wants the answer again
    assert not again.is_known(message(3, is_again=True, **(named | {"payload": b"other"})))
    assert connection.acknowledged == [1, 2]
    for number in range(2):
        again.end(again.begin(message(number, connection=connection, properties={"id": f"n{number}"})))
    assert not again.is_known(message(4, is_again=True, **named))


def test_a_message_with_an_id_is_known_to_the_next_process(tmp_path: Path) -> None:
    file = tmp_path / "mqtt" / "route.done"
    killed = Again(file, done_count_max=3)  # and never closed
    for number in range(20):
        killed.end(killed.begin(message(number, properties={"id": str(number)})))
    file.write_bytes(file.read_bytes() + b"torn")
    again = Again(file, done_count_max=3)
    known = [again.is_known(message(n, is_again=True, properties={"id": str(n)})) for n in range(20)]
    assert known == [False] * 17 + [True] * 3
    assert not again.is_known(message(19, properties={"id": "19"}))  # its publisher wants the answer again
    assert file.stat().st_size <= 2 * 3 * DIGEST_BYTES
    again.close()
    killed.close()


def test_a_disk_that_fails_costs_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / "mqtt").write_text("no folder")
    again = Again(tmp_path / "mqtt" / "route.done")
    again.end(again.begin(message(1, properties={"id": "1"})))
    assert again.is_known(message(2, is_again=True, properties={"id": "1"}))


def test_qos_0_is_never_known() -> None:
    again = Again()
    again.begin(message(qos=0))
    assert not again.is_known(message(qos=0, is_again=True))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (InputError("x"), Verdict.REFUSED),
        (TooLargeError("x"), Verdict.REFUSED),
        (AgentError("x", number=-1), Verdict.REFUSED),
        (AgentError("x", number=-5), Verdict.BROKEN),
        (NotFoundError("x"), Verdict.LATER),
        (UnavailableError("x"), Verdict.LATER),
        (TrapError("x", code="y"), Verdict.BROKEN),
        (DeadlineError("x"), Verdict.BROKEN),
        (ZeroDivisionError(), Verdict.BROKEN),
    ],
)
def test_verdicts(error: Exception, verdict: Verdict) -> None:
    assert judged(error) is verdict


def test_pauses_grow_differ_and_end() -> None:
    pauses = BackOff(random.Random(1), 0.1, 2.0)
    found = [pauses.next_s() for _ in range(40)]
    assert all(
        0.5 * longest <= pause <= longest
        for pause, longest in zip(found, [0.1, 0.2, 0.4, 0.8, 1.6] + 35 * [2.0], strict=True)
    )
    assert max(found) <= 2.0
    pauses.reset()
    assert pauses.next_s() <= 0.1


def test_addresses() -> None:
    assert parse_broker("mqtt://broker") == (False, "broker", 1883)
    assert parse_broker("mqtts://[::1]:1") == (True, "::1", 1)
    for wrong in ("broker", "http://x", "mqtt://", "mqtt://x/y", "mqtt://x:99999", "mqtt://x?y"):
        with pytest.raises(InputError, match="must be `mqtt://HOST"):
            parse_broker(wrong)
    with pytest.raises(InputError, match="user and password"):
        parse_broker("mqtt://u:p@x")


def test_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p").write_text("first line\nmore\n")
    assert Credentials("u", tmp_path / "p").password() == "first line"
    assert Credentials().password() is None
    monkeypatch.setenv("SHOP_PASSWORD", "s")
    assert Credentials(password_variable="SHOP_PASSWORD").password() == "s"
    for wrong in (
        Credentials("u", tmp_path / "none"),
        Credentials("u", tmp_path),
        Credentials(password_variable="NOT_THERE"),
    ):
        with pytest.raises(SettingError):
            wrong.password()


PIPELINES = """
[agents.decode]
path = "builtin:image"
[collections.frames]
vectors = { size = 4, distance = "Dot" }
[pipelines.p]
steps = [{ agent = "decode" }, { upsert = "frames", payload = { at = "{time}" } }]
"""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('broker = "mqtt://x"\nca = "y"', "`mqtt.ca`: has no meaning without TLS"),
        ('broker = "mqtts://x"\nkey = "y"', "`mqtt.key`: has no meaning without `certificate`"),
        ('broker = "x"', "`mqtt.broker`: must be `mqtt://HOST"),
        ('broker = "mqtt://x"\npassword_file = "a"\npassword_env = "b"', "needs one of them"),
        (
            'broker = "mqtt://x"\n[[mqtt.routes]]\ntopic = "a"\npipeline = "q"',
            "`mqtt.routes[0].pipeline` is `q`, must be",
        ),
        ('broker = "mqtt://x"\n[[mqtt.routes]]\ntopic = "a/#/b"\npipeline = "p"', "`mqtt.routes[0].topic`: `#` stands"),
        (
            'broker = "mqtt://x"\n[[mqtt.routes]]\ntopic = "a/+"\npipeline = "p"\npublish = "b/{2}"',
            "`mqtt.routes[0].publish`: `{2}` is unknown",
        ),
        (
            'broker = "mqtt://x"\n[[mqtt.routes]]\ntopic = "a"\npipeline = "p"\nshare = "a/b"',
            "`mqtt.routes[0].share`: must be 1 to 64",
        ),
        (
            'broker = "mqtt://x"\n[[mqtt.routes]]\ntopic = "a"\npipeline = "p"\nqueue = { keep = "some" }',
            "must be one of",
        ),
        ('broker = "mqtt://x"\n[[mqtt.routes]]\ntopic = "a"\npipeline = "p"\nqos = 2', "`mqtt.routes[0].qos` is `2`"),
        (
            'broker = "mqtt://x"\n' + '[[mqtt.routes]]\ntopic = "a"\npipeline = "p"\nname = "n"\n' * 2,
            "`mqtt.routes[0].name` is `n`, must be another",
        ),
    ],
)
def test_what_is_wrong_in_the_table(lines: str, said: str) -> None:
    with pytest.raises(SettingError) as caught_error:
        parse_site(f"{PIPELINES}\n[mqtt]\n{lines}".encode(), Path("site.toml"))
    assert said in str(caught_error.value)


def test_a_payload_names_what_there_is() -> None:
    with pytest.raises(SettingError, match=r"`pipelines.p.steps\[1\].payload`: `at`: `\{when\}` is unknown"):
        parse_site(PIPELINES.replace("{time}", "{when}").encode(), Path("site.toml"))


def test_ids_of_points() -> None:
    uuid = "0123abcd-0123-4123-8123-0123456789ab"
    assert point_id(Origin(b"x", "41"), is_by_message=True) == 41
    assert point_id(Origin(b"x", uuid.upper()), is_by_message=True) == uuid
    assert point_id(Origin(b"x", str(2**64)), is_by_message=True) != 2**64
    named = point_id(Origin(b"x", "a name"), is_by_message=True)
    assert named == point_id(Origin(b"y", "a name"), is_by_message=True)
    by_content = point_id(Origin(b"x", "a name"), is_by_message=False)
    assert by_content == point_id(Origin(b"x"), is_by_message=True)
    assert len({named, by_content, point_id(Origin(b"y"), is_by_message=True)}) == 3


def test_payloads() -> None:
    where = Origin(b"x", "7", "cameras/door/1", ("door", "1"), 12.5)
    template = {"at": "{time}", "camera": "{1}", "all": "{topic} {id} {9} at {time}", "n": 3, "d": "{digest}"}
    assert payload_of(template, where) == {
        "at": 12.5,
        "camera": "door",
        "all": "cameras/door/1 7  at 12.500",
        "n": 3,
        "d": where.digest,
    }
