"""What Redis has to be like: each fault is one sentence with a remedy, and only what does not heal refuses."""

from dataclasses import replace
from typing import Any

import pytest

from app.services.checks.redis_rules import judge_redis
from app.services.findings import Effect, Finding
from app.services.queue.server_facts import ClockOffset, RedisFacts

SOUND = RedisFacts(
    server="redis",
    version="7.4.1",
    role="master",
    is_cluster=False,
    policy="noeviction",
    used_memory=900_000,
    maxmemory=0,
    aof=True,
    appendfsync="everysec",
    aof_last_write="ok",
    aof_last_rewrite="ok",
    rdb_last_save="ok",
    write_refusal="",
    clock=ClockOffset(seconds=0.001, uncertainty=0.0005),
)


def findings(*, allow_eviction: bool = False, **changes: Any) -> tuple[Finding, ...]:
    """What is said of a sound server with these changes."""
    return judge_redis(replace(SOUND, **changes), allow_eviction=allow_eviction).findings


def only(**changes: Any) -> Finding:
    """The one finding."""
    [found] = findings(**changes)
    return found


def test_sound_server_has_no_findings_and_shows_what_it_is() -> None:
    """Version, policy and persistence are for the health report."""
    look = judge_redis(SOUND, allow_eviction=False)

    assert look.findings == ()
    assert look.facts["version"] == "redis 7.4.1"
    assert (look.facts["maxmemory_policy"], look.facts["aof"]) == ("noeviction", True)
    assert look.facts["clock_ahead_seconds"] == 0.001


def test_without_append_only_file_there_is_nothing_to_complain_of() -> None:
    """SQL is the truth; it is told all the same."""
    look = judge_redis(replace(SOUND, aof=False), allow_eviction=False)

    assert look.findings == ()
    assert look.identity["aof"] is False


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-lrm"])
def test_any_policy_that_evicts_refuses_the_start_and_says_how_to_change_it(policy: str) -> None:
    """Also one that takes only keys with an end: leases have one."""
    found = only(policy=policy, maxmemory=30_000_000)

    assert (found.effect, found.refuses) == (Effect.RISK, True)
    for words in (
        policy,
        "CONFIG SET maxmemory-policy noeviction",
        "redis.conf",
        "docker-compose.yml",
        "MESSAGE_PROCESSING_ALLOW_REDIS_EVICTION=true",
    ):
        assert words in found.text
    assert "maxmemory 现在是 0" not in found.text


def test_policy_that_evicts_nothing_yet_is_refused_too_and_the_sentence_is_true() -> None:
    """Without a limit nothing goes today."""
    found = only(policy="allkeys-lru", maxmemory=0)

    assert found.refuses
    assert "maxmemory 现在是 0" in found.text


def test_allowed_eviction_starts_with_a_warning() -> None:
    """The operator knows."""
    found = only(policy="allkeys-lru", allow_eviction=True)

    assert (found.effect, found.refuses) == (Effect.RISK, False)
    assert "allow_redis_eviction" in found.text


def test_policy_that_nobody_tells_is_a_warning() -> None:
    """Managed servers may hide it."""
    found = only(policy="")

    assert (found.code, found.refuses) == ("redis_policy_unknown", False)


@pytest.mark.parametrize(
    ("server", "version", "is_old"),
    [
        ("redis", "6.0.16", True),
        ("redis", "5.0.14", True),
        ("redis", "6.2.0", False),
        ("redis", "10.0.1", False),
        ("valkey", "8.1.1", False),
        ("redis", "", False),
    ],
)
def test_version_below_6_2_refuses_the_start(server: str, version: str, is_old: bool) -> None:
    """One that nobody tells does not."""
    found = findings(server=server, version=version)

    assert [one.code for one in found] == (["redis_version"] if is_old else [])
    assert all(one.refuses for one in found)


def test_cluster_is_refused_and_nothing_else_is_said() -> None:
    """What follows from it would only hide it."""
    found = only(is_cluster=True, write_refusal="CROSSSLOT", policy="allkeys-lru")

    assert (found.code, found.effect, found.refuses) == ("redis_cluster", Effect.BROKEN, True)


@pytest.mark.parametrize(
    ("word", "remedy"),
    [("READONLY", "主库"), ("OOM", "maxmemory"), ("MISCONF", "磁盘"), ("ODD", "日志")],
)
def test_server_that_refuses_writes_is_down_and_may_be_started_with(word: str, remedy: str) -> None:
    """It may be a failover: callbacks are taken meanwhile."""
    found = only(write_refusal=word, role="slave")

    assert (found.code, found.effect, found.refuses) == (
        "redis_refuses_writes",
        Effect.BROKEN,
        False,
    )
    assert word in found.text
    assert remedy in found.text


def test_replica_that_takes_writes_is_warned_of() -> None:
    """They are gone with the next synchronisation."""
    assert only(role="slave").code == "redis_writable_replica"


def test_memory_near_its_limit_is_warned_of() -> None:
    """Not without a limit, and not far below it."""
    assert only(used_memory=95, maxmemory=100).code == "redis_nearly_full"
    assert findings(used_memory=80, maxmemory=100) == ()
    assert findings(used_memory=None, maxmemory=None) == ()


def test_failed_saving_is_named() -> None:
    """The old outcome of a file that is switched off means nothing."""
    assert "aof_last_write_status" in only(aof_last_write="err").text
    assert "rdb_last_bgsave_status" in only(rdb_last_save="err").text
    assert findings(aof=False, aof_last_write="err") == ()


@pytest.mark.parametrize(
    ("seconds", "uncertainty", "word"),
    [(2.0, 0.5, "快 2.0 秒"), (-90.0, 0.001, "慢 90.0 秒"), (2.0, 1.2, None), (0.9, 0.0, None)],
)
def test_clocks_that_certainly_differ_are_warned_of(
    seconds: float, uncertainty: float, word: str | None
) -> None:
    """What a slow round trip may explain is no difference."""
    found = findings(clock=ClockOffset(seconds=seconds, uncertainty=uncertainty))

    assert [word in one.text for one in found if word] == ([True] if word else [])
    assert [one.code for one in found] == (["redis_clock"] if word else [])
