"""Switches for what goes wrong, the same model for both simulators: which, where, how often, how likely."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


class UnknownFault(ValueError):
    """The simulator has no fault of this name, or its settings make no sense."""


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """What can be switched on."""

    explanation: str
    unit: str = ""
    """Meaning of the value; empty where there is none."""
    endpoints: tuple[str, ...] = ("*",)
    """Where it strikes unless told otherwise; shell patterns of paths."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault that is on."""

    name: str
    value: float
    endpoints: tuple[str, ...]
    probability: float
    times: int | None
    """How often it will still strike; None = for ever."""
    struck: int = 0

    def covers(self, endpoint: str) -> bool:
        """Whether the fault is meant for this path."""
        return any(fnmatchcase(endpoint, pattern) for pattern in self.endpoints)

    def as_json(self) -> dict[str, Any]:
        """The fault as `GET /_sim/faults` shows it."""
        return {
            "name": self.name,
            "value": self.value,
            "endpoints": list(self.endpoints),
            "probability": self.probability,
            "times": self.times,
            "struck": self.struck,
        }


class FaultSwitches:
    """The faults that are on; chance comes from one seeded source, so that a run can be repeated."""

    def __init__(self, kinds: Mapping[str, FaultKind], seed: int | None = None) -> None:
        self.kinds = kinds
        self.chance = random.Random(seed)
        self._on: list[Fault] = []

    def seed(self, seed: int) -> None:
        """Begin the sequence of chance anew."""
        self.chance.seed(seed)

    def set(
        self,
        name: str,
        value: float = 0.0,
        *,
        endpoints: Iterable[str] = (),
        probability: float = 1.0,
        times: int | None = None,
    ) -> Fault:
        """
        Switch a fault on; one of the same name and endpoints is replaced.

        Args:
            name: one of `kinds`.
            value: seconds, calls per minute or copies, as the kind says.
            endpoints: paths or shell patterns ("/send*"); empty = the kind's own.
            probability: 0 to 1, for each call by itself.
            times: strike at most so often; None = for ever.

        Raises:
            UnknownFault: no such kind, or a value out of bounds.
        """
        kind = self.kinds.get(name)
        if kind is None:
            raise UnknownFault(f"no fault named {name!r}; there are: {', '.join(self.kinds)}")
        if value < 0 or not 0 <= probability <= 1 or (times is not None and times < 0):
            raise UnknownFault(
                f"{name}: value and times are not negative, probability lies in 0..1"
            )
        where = tuple(endpoints) or kind.endpoints
        self._on = [on for on in self._on if (on.name, on.endpoints) != (name, where)]
        fault = Fault(name=name, value=value, endpoints=where, probability=probability, times=times)
        self._on.append(fault)
        return fault

    def clear(self, *names: str) -> None:
        """Switch off the named faults, or all."""
        self._on = [on for on in self._on if names and on.name not in names]

    def strike(self, name: str, endpoint: str = "*") -> Fault | None:
        """The fault if it strikes this call now; it counts as struck."""
        for fault in self._on:
            if fault.name != name or fault.times == 0 or not fault.covers(endpoint):
                continue
            if fault.probability < 1 and self.chance.random() >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
            fault.struck += 1
            return fault
        return None

    def first_of(self, names: Iterable[str], endpoint: str) -> Fault | None:
        """The first of several faults that strikes this call."""
        if not self._on:
            return None
        return next((hit for name in names if (hit := self.strike(name, endpoint))), None)

    def as_json(self) -> dict[str, Any]:
        """What is on and what there is."""
        return {
            "faults": [fault.as_json() for fault in self._on],
            "known": {
                name: {"explanation": kind.explanation, "unit": kind.unit}
                for name, kind in self.kinds.items()
            },
        }

    def apply(self, order: Any) -> None:
        """
        Carry out the body of `POST /_sim/faults`.

        Shape: one fault `{"name", "value", "endpoints", "probability", "times", "on"}`, or
        `{"seed": 7, "clear": true | [names], "faults": [fault, …]}`; `"on": false` switches off.

        Raises:
            UnknownFault: anything in it is not understood; then nothing of it is done.
        """
        if not isinstance(order, dict):
            raise UnknownFault("an object is expected")
        wanted = [order] if "name" in order else order.get("faults", [])
        if not isinstance(wanted, list):
            raise UnknownFault("faults is a list")
        parsed = [self._parse(fault) for fault in wanted]
        if isinstance(order.get("seed"), int):
            self.seed(order["seed"])
        clear = order.get("clear")
        if clear is True:
            self.clear()
        elif isinstance(clear, list) and clear:
            self.clear(*map(str, clear))
        for name, arguments in parsed:
            if arguments is None:
                self.clear(name)
            else:
                self.set(name, **arguments)

    def _parse(self, fault: Any) -> tuple[str, dict[str, Any] | None]:
        if not isinstance(fault, dict) or fault.get("name") not in self.kinds:
            raise UnknownFault(f"no such fault: {fault!r}; there are: {', '.join(self.kinds)}")
        name = str(fault["name"])
        if fault.get("on") is False:
            return name, None
        try:
            times = fault.get("times")
            arguments: dict[str, Any] = {
                "value": float(fault.get("value") or 0),
                "probability": float(fault.get("probability", 1)),
                "times": None if times is None else int(times),
                "endpoints": [str(path) for path in fault.get("endpoints") or ()],
            }
            FaultSwitches(self.kinds).set(name, **arguments)
        except (TypeError, ValueError) as error:
            raise UnknownFault(f"{name}: {error}") from error
        return name, arguments
