"""`/api/steps` of a node of a data centre: over TLS, for the role `steps`, with the checks of the mesh."""

import asyncio
import ssl
from pathlib import Path

import numpy as np
import pytest

from fallback_rig import PIXELS, Rig, fallback_rig
from littoral.clock import SYSTEM
from littoral.errors import (
    ForbiddenError,
    InputError,
    LittoralError,
    NotFoundError,
    PeerError,
    UnauthorizedError,
    UnavailableError,
)
from littoral.node.access.roles import Role
from littoral.steps.door import Door
from littoral.steps.messages import StepAsk, decode_loads, decode_told, encode_step
from littoral.web.access.tokens import new_token, read_tokens, write_tokens

STRANGER = f"model:{'0' * 64}"


def door(rig: Rig, folder: Path, *roles: Role) -> Door:
    """As somebody with these roles comes to it."""
    file = folder / "dc-1/tokens.json"
    text, token = new_token("x", roles, SYSTEM.wall())
    write_tokens(file, [*read_tokens(file), token])
    ca = (folder / "ca/ca.pem").read_text()
    return Door(f"https://{rig.workers['dc-1'].address}/api/steps", "dc-1", lambda: text, ca=ca)


async def test_the_role_is_good_for_steps_and_nothing_else_is(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig:
        for roles in ([Role.READ], [Role.INFER], [Role.WRITE], [Role.READ, Role.INFER, Role.WRITE]):
            found = door(rig, tmp_path, *roles)
            with pytest.raises(ForbiddenError, match="needs the role `steps`"):
                await found.step(rig.frame(), 30.0)
            with pytest.raises(ForbiddenError, match="needs the role `steps`"):
                await found.loads(30.0)
            await found.close()
        found = door(rig, tmp_path, Role.STEPS)
        assert rig.key in decode_loads(await found.loads(30.0), "dc-1").offers
        told, _ = decode_told(await found.step(rig.frame(), 30.0), "dc-1")
        assert told.node == "dc-1"
        await found.close()
        service = rig.workers["dc-1"].node.placement.service  # type: ignore[union-attr]
        assert service.served["http:x"] == 1


async def test_frames_that_are_no_steps_of_what_it_has(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig:
        found = door(rig, tmp_path, Role.STEPS)
        wrong: list[tuple[bytes, type[LittoralError]]] = [
            (b"nothing", InputError),
            (rig.frame(key=STRANGER), NotFoundError),
            (rig.frame(key=rig.key.replace("model:", "agent:")), NotFoundError),
            (rig.frame(value={"x": np.zeros((1, 3, 8, 8), np.float32)}), InputError),
            (rig.frame(value={"y": PIXELS["x"]}), InputError),
            (encode_step(StepAsk(rig.key, 30.0, ["nothing"]), PIXELS, {}), InputError),
            (rig.frame(value=b"bytes"), InputError),
        ]
        for body, kind in wrong:
            with pytest.raises(kind):
                await found.step(body, 30.0)
        await found.close()


async def test_it_refuses_when_it_is_closed_or_its_power_is_spent(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path, placement="serves = false") as rig:
        found = door(rig, tmp_path, Role.STEPS)
        assert decode_loads(await found.loads(30.0), "dc-1").offers == {}
        with pytest.raises(UnavailableError, match="runs no steps of others"):
            await found.step(rig.frame(), 30.0)
        await found.close()


async def test_its_certificate_must_be_the_authoritys_and_its_token_no_strangers(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig:
        url = f"https://{rig.workers['dc-1'].address}/api/steps"
        unknown = Door(url, "dc-1", lambda: "littoral_x")
        with pytest.raises(PeerError, match="certificate verify failed"):
            await unknown.step(rig.frame(), 30.0)
        await unknown.close()
        stranger = Door(url, "dc-1", lambda: "littoral_x", ca=(tmp_path / "ca/ca.pem").read_text())
        with pytest.raises(UnauthorizedError):
            await stranger.step(rig.frame(), 30.0)
        await stranger.close()


async def test_a_caller_that_leaves_takes_its_step_with_it(tmp_path: Path) -> None:
    """A connection per step that is given up; the node of the data centre does not go on for nobody."""
    async with fallback_rig(tmp_path) as rig:
        found = door(rig, tmp_path, Role.STEPS)
        service = rig.workers["dc-1"].node.placement.service  # type: ignore[union-attr]
        begun, never = asyncio.Event(), asyncio.Event()

        async def held(*_: object) -> None:
            begun.set()
            try:
                await never.wait()
            finally:
                ended.set()

        ended = asyncio.Event()
        service._workplace.run = held  # type: ignore[method-assign]
        step = asyncio.create_task(found.step(rig.frame(), 60.0))
        await begun.wait()
        assert service.busy == 1
        step.cancel()
        await asyncio.wait_for(ended.wait(), 60)
        assert service.busy == 0
        await found.close()


def test_tls_is_the_machines_own() -> None:
    """Nothing older than TLS 1.2, names checked."""
    context = Door("https://x.example", "x", str)._server._context
    assert context is not None
    assert (context.minimum_version >= ssl.TLSVersion.TLSv1_2, context.check_hostname) == (True, True)
