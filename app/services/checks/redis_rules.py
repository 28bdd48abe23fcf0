"""What Redis has to be like. Pure; every sentence says what was found and what to do."""

import re
from typing import Any, Final

from app.services.findings import Finding, Look, broken, risk
from app.services.queue.server_facts import RedisFacts

OLDEST: Final = (6, 2)
SAFE_POLICY: Final = "noeviction"
NEARLY_FULL: Final = 0.9
#: A second may lie between our clocks and Redis', so two between two processes: the shortest age that
#: one process judges by the time another one wrote is three (index_keeper.SWEEP_AGE,
#: claim_mending.PLACE_SECONDS), and one person's messages are ordered by the clocks that received them.
CLOCK_SECONDS: Final = 1.0
#: First word of a refusal → what it means.
_REFUSALS: Final = {
    "READONLY": "它是从库。请让 REDIS_URL 指向主库(或用 Sentinel 的地址);正在切换时会自动恢复",
    "OOM": "内存已到 maxmemory。请调大 maxmemory,或删掉库里别的程序的键",
    "MISCONF": "它不能把数据写到磁盘。请检查 Redis 那台机器的磁盘和日志",
    "NOREPLICAS": "从库不够(min-replicas-to-write)。请恢复从库,或改小这个值",
    "NOPERM": "这个用户没有写权限。请在 Redis 的 ACL 里给它全部命令和 ecloud 开头的键",
}


def judge_redis(facts: RedisFacts, *, allow_eviction: bool) -> Look:
    """What is wrong with a server, and what to show of it."""
    if facts.is_cluster:
        found = [_cluster()]
    else:
        rules = (
            _version(facts),
            _writes(facts),
            _role(facts),
            _eviction(facts, allow_eviction=allow_eviction),
            _memory(facts),
            _persistence(facts),
            _clock(facts),
        )
        found = [finding for finding in rules if finding is not None]
    identity = {
        "version": f"{facts.server} {facts.version}".strip(),
        "role": facts.role,
        "maxmemory_policy": facts.policy or "unknown",
        "aof": facts.aof,
        "appendfsync": facts.appendfsync or "unknown",
    }
    return Look(
        findings=tuple(found), identity=identity, facts={**identity, **_changing_facts(facts)}
    )


def _changing_facts(facts: RedisFacts) -> dict[str, Any]:
    return {
        "used_memory": facts.used_memory,
        "maxmemory": facts.maxmemory,
        "aof_last_write": facts.aof_last_write or "unknown",
        "aof_last_rewrite": facts.aof_last_rewrite or "unknown",
        "rdb_last_save": facts.rdb_last_save or "unknown",
        "clock_ahead_seconds": round(facts.clock.seconds, 3),
    }


def _cluster() -> Finding:
    return broken(
        "redis_cluster",
        "Redis 是集群模式(cluster_enabled),而本程序的一个脚本同时改几个键,不能在集群上运行。"
        "请改用单机、主从或 Sentinel 的 Redis(REDIS_URL)。",
        refuses=True,
    )


def _version(facts: RedisFacts) -> Finding | None:
    numbers = tuple(int(number) for number in re.findall(r"\d+", facts.version)[:2])
    if not numbers or numbers >= OLDEST:
        return None
    return risk(
        "redis_version",
        f"Redis 的版本是 {facts.version},需要 6.2 以上(或 Valkey)。请升级 Redis。",
        refuses=True,
    )


def _writes(facts: RedisFacts) -> Finding | None:
    word = facts.write_refusal
    if not word:
        return None
    meaning = _REFUSALS.get(word, "请看 Redis 的日志")
    return broken(
        "redis_refuses_writes", f"Redis 拒绝写入({word}):{meaning}。其间消息照收,但不处理。"
    )


def _role(facts: RedisFacts) -> Finding | None:
    if facts.role != "slave" or facts.write_refusal:
        return None
    return risk(
        "redis_writable_replica",
        "Redis 是可写的从库(replica-read-only no):写进去的会在下次同步时消失。请让 REDIS_URL 指向主库。",
    )


def _eviction(facts: RedisFacts, *, allow_eviction: bool) -> Finding | None:
    if facts.policy == SAFE_POLICY:
        return None
    if not facts.policy:
        return risk(
            "redis_policy_unknown",
            "查不到 Redis 的 maxmemory-policy(INFO 和 CONFIG 都不可用)。"
            "请确认它是 noeviction,否则内存满时会悄悄删除队列和租约。",
        )
    now = ""
    if facts.maxmemory == 0:
        now = "(maxmemory 现在是 0,还没有删;一旦设了上限就会)"
    found = f"Redis 的 maxmemory-policy 是 {facts.policy}:内存满时会悄悄删除队列和租约{now}。"
    if allow_eviction:
        advice = "已由 message_processing.allow_redis_eviction 允许;建议改为 noeviction。"
    else:
        advice = (
            "请执行 redis-cli CONFIG SET maxmemory-policy noeviction,并写进 redis.conf"
            "(maxmemory-policy noeviction)或 docker-compose.yml 里 redis 的命令行"
            "(--maxmemory-policy noeviction);托管的 Redis 在控制台的参数里改。"
            "明知如此仍要运行,设 MESSAGE_PROCESSING_ALLOW_REDIS_EVICTION=true。"
        )
    return risk("redis_evicts", found + advice, refuses=not allow_eviction)


def _memory(facts: RedisFacts) -> Finding | None:
    used, most = facts.used_memory, facts.maxmemory
    if not used or not most or used < most * NEARLY_FULL:
        return None
    return risk(
        "redis_nearly_full",
        f"Redis 的内存用到了 maxmemory 的 {used / most:.0%}。满了以后它拒绝写入(noeviction),"
        "消息照收但不再排队。请调大 maxmemory,或删掉库里别的程序的键。",
    )


def _persistence(facts: RedisFacts) -> Finding | None:
    failed = [
        name
        for name, status in (
            ("aof_last_write_status", facts.aof_last_write if facts.aof else ""),
            ("aof_last_bgrewrite_status", facts.aof_last_rewrite if facts.aof else ""),
            ("rdb_last_bgsave_status", facts.rdb_last_save),
        )
        if status == "err"
    ]
    if not failed:
        return None
    return risk(
        "redis_not_saved",
        f"Redis 上次没能把数据写到磁盘({'、'.join(failed)})。请检查 Redis 那台机器的磁盘和日志。",
    )


def _clock(facts: RedisFacts) -> Finding | None:
    if facts.clock.at_least <= CLOCK_SECONDS:
        return None
    word = "快" if facts.clock.seconds > 0 else "慢"
    return risk(
        "redis_clock",
        f"Redis 的时钟比本机{word} {abs(facts.clock.seconds):.1f} 秒。各进程的时钟不一致时,"
        "同一个人的消息次序、限速和等待的判断会出错。请让两台机器都用 NTP 对时。",
    )
