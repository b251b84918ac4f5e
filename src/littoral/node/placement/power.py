"""What a node draws: counted by the machine where it tells, else estimated from the cores at work."""

from collections.abc import Callable
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import SettingError
from littoral.node.placement_tables import PowerTable

__all__ = ["PowerMeter"]

ROUND_S = 0.5
SHARE_OF_THE_LATEST = 0.3
DIGITS_MAX = 20


class PowerMeter:
    """worked_s: core seconds of all guests since the start. counter: file of the energy used so far, in µJ.

    Raises SettingError for a counter that cannot be read.
    """

    def __init__(
        self, table: PowerTable, worked_s: Callable[[], float], clock: Clock, *, counter: Path | None = None
    ) -> None:
        self.watts_max = table.watts
        self._table = table
        self._worked_s = worked_s
        self._clock = clock
        self._counter = counter
        self._used = self._read()
        self._at_s = clock.monotonic()
        self._watts = 0.0 if counter is not None else table.idle_watts

    def watts(self) -> float:
        """Of late; measured anew twice a second at most."""
        now_s = self._clock.monotonic()
        if (passed_s := now_s - self._at_s) >= ROUND_S:
            used = self._used if (read := self._counted()) is None else read
            latest = max(0.0, used - self._used) / passed_s  # a counter begins anew now and then
            self._used, self._at_s = used, now_s
            drawn = latest if self._counter is not None else self._table.idle_watts + latest * self._table.core_watts
            self._watts += (drawn - self._watts) * SHARE_OF_THE_LATEST
        return self._watts

    def is_spent(self) -> bool:
        """Whether one more core at work would be beyond the budget."""
        return self.watts_max is not None and self.watts() + self._table.core_watts > self.watts_max

    def _counted(self) -> float | None:
        """None where the counter cannot be read for once."""
        try:
            return self._read()
        except SettingError:
            return None

    def _read(self) -> float:
        """Joules, or core seconds."""
        if self._counter is None:
            return self._worked_s()
        try:
            text = self._counter.read_text()[: DIGITS_MAX + 1].strip()
            return int(text) / 1e6
        except (OSError, ValueError) as error:
            raise SettingError(
                f"`placement.power.counter`: `{self._counter}` holds no count of µJ",
                hint="many systems let only root read it; leave the key out, and watts are estimated",
            ) from error
