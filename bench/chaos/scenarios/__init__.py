"""One module for each family of faults; ``SCENARIOS`` holds all, in the order of the table."""

from bench.chaos.scenario import Scenario
from bench.chaos.scenarios.apps import TwoApps
from bench.chaos.scenarios.dify import DifyDown, DifyFaults, DifyOrder
from bench.chaos.scenarios.duplicates import Duplicates
from bench.chaos.scenarios.endurance import Soak
from bench.chaos.scenarios.fairness import Fairness
from bench.chaos.scenarios.gateway import GatewayFaults, GatewayOffline
from bench.chaos.scenarios.kills import Freeze, KillBlocking, KillEmbedded, KillStreaming
from bench.chaos.scenarios.links import (
    LinkCallback,
    LinkDify,
    LinkGateway,
    LinkMysql,
    LinkRedis,
)
from bench.chaos.scenarios.overload import Overload
from bench.chaos.scenarios.poison import Poison
from bench.chaos.scenarios.rolling import Rolling
from bench.chaos.scenarios.stores import (
    MariadbFrozen,
    MariadbKill,
    RedisFailover,
    RedisKill,
    RedisWipe,
)

SCENARIOS: dict[str, Scenario] = {
    one.name: one
    for one in (
        KillBlocking(),
        KillStreaming(),
        Freeze(),
        RedisKill(),
        RedisWipe(),
        RedisFailover(),
        MariadbKill(),
        MariadbFrozen(),
        Duplicates(),
        DifyFaults(),
        DifyOrder(),
        DifyDown(),
        TwoApps(),
        GatewayFaults(),
        GatewayOffline(),
        Poison(),
        LinkCallback(),
        LinkDify(),
        LinkGateway(),
        LinkRedis(),
        LinkMysql(),
        Rolling(),
        KillEmbedded(),
        Soak(),
        Overload(),
        Fairness(),
    )
}
