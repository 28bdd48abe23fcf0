"""Rows of a busy quarter, made by the database server itself: a million messages in about a minute."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.utils.ids import EPOCH_MS, LOW_BITS
from tests.fixtures.mariadb import DatabaseServer

#: Rows of one statement.
BLOCK = 50_000
DAY_MS = 86_400_000
BOTS = 3
#: Members that each group has.
MEMBERS = 40
#: Of each person who waits.
WAITING_EACH = 5
#: Raw callbacks are kept for so many of the newest messages only, as retention leaves them.
RAW_KEPT = 100_000
TEXTS = (
    "请问周末几点开门?",
    "上次说的退款到账了吗,订单号是多少来着",
    "帮我把这段会议纪要整理成三点,明天上午十点之前要发给客户,谢谢!",
    "好的,收到",
    "发票怎么开,抬头写公司的可以吗",
    "新版本什么时候上线?有没有更新说明可以看一下",
)
IGNORED = ("not_mentioned", "not_mentioned", "unsupported_type", "own_message")
CAUSES = ("dify_rejected", "attempt_timeout", "budget_spent", "crashed", "cleared")


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """How much of everything."""

    messages: int
    people: int
    groups: int
    #: People with messages that wait, five each.
    waiting: int
    deeds: int
    #: Over which the messages are spread evenly.
    days: int = 90

    def __post_init__(self) -> None:
        """A server's own number and the id's low bits hold each message's number."""
        if self.messages >= 1 << LOW_BITS:
            raise ValueError(f"at most {(1 << LOW_BITS) - 1} messages")


def fill(server: DatabaseServer, database: str, amount: Amount, now_ms: int) -> None:
    """Put the rows into an empty, migrated database and let it learn their distribution."""
    server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
    server.execute("SET GLOBAL time_zone = '+00:00'")
    for statement in statements(amount, now_ms):
        server.execute(statement, database=database)
    tables = "messages, segments, contacts, group_members, `groups`, audit_log"
    server.execute(f"ANALYZE TABLE {tables}", database=database)
    server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")


def statements(amount: Amount, now_ms: int) -> Iterator[str]:
    """One after the other; each is committed by itself (pure)."""
    yield f"""INSERT INTO accounts (wc_id, w_id, w_id_time, w_id_source, refused_w_id, state, since)
        SELECT CONCAT('wxid_bot', seq), '', 0, '', '', 'online', UTC_TIMESTAMP(6)
        FROM seq_0_to_{BOTS - 1}"""
    yield _contacts(0, amount.people, "CONCAT('wxid_', seq)", "person", "小")
    yield _contacts(0, amount.groups, "CONCAT(seq, '@chatroom')", "group", "产品体验群")
    yield f"""INSERT INTO `groups` (bot_wc_id, group_id, first_seen_at)
        SELECT CONCAT('wxid_bot', seq % {BOTS}), CONCAT(seq, '@chatroom'), UTC_TIMESTAMP(6)
        FROM seq_0_to_{amount.groups - 1}"""
    yield f"""INSERT IGNORE INTO group_members
            (group_id, wc_id, display_name, nick_name, small_avatar, fetched_at)
        SELECT CONCAT(seq DIV {MEMBERS}, '@chatroom'),
            CONCAT('wxid_', CRC32(seq) % {amount.people}),
            IF(seq % 3, '', CONCAT('群里的', seq)), CONCAT('小', seq), '', UTC_TIMESTAMP(6)
        FROM seq_0_to_{amount.groups * MEMBERS - 1}"""
    yield f"""INSERT INTO audit_log (at, operator, action, subject, `before`, `after`, address)
        SELECT UTC_TIMESTAMP(6) - INTERVAL ({amount.deeds} - seq) MINUTE,
            ELT(1 + seq % 3, 'admin', '小王', '小李'),
            ELT(1 + CRC32(seq) % 4, 'session.open', 'group.change', 'failures.replay', 'queue.clear'),
            CONCAT(seq % {amount.groups}, '@chatroom'), '(默认)', 'trigger=mention', '127.0.0.1'
        FROM seq_1_to_{amount.deeds}"""
    for first in range(0, amount.messages, BLOCK):
        last = min(first + BLOCK, amount.messages) - 1
        yield _messages(amount, now_ms, first, last)
    low = _id(now_ms - amount.days * DAY_MS)
    step = amount.days * DAY_MS // max(1, amount.messages // BLOCK)
    for start in range(now_ms - amount.days * DAY_MS, now_ms + 1, step):
        yield _segments(f"id > {low} AND id <= {_id(start + step)}")
        low = _id(start + step)


def _id(milliseconds: int) -> int:
    return (milliseconds - EPOCH_MS) << LOW_BITS


def _contacts(first: int, count: int, wc_id: str, kind: str, name: str) -> str:
    return f"""INSERT INTO contacts (wc_id, nick_name, user_name, remark, alias, signature, sex,
            country, province, city, big_avatar, small_avatar, labels, v1, kind, raw, bot_wc_id,
            group_id, fetched_at, failures, error, seen_at)
        SELECT {wc_id}, CONCAT('{name}', seq), '', IF(seq % 20, '', CONCAT('老客户', seq)),
            CONCAT('alias', seq), '心静自然凉', 1, 'CN', '上海', '', 'http://127.0.0.1/big.png',
            'http://127.0.0.1/small.png', '', '', '{kind}', '{{}}', 'wxid_bot0', '',
            UTC_TIMESTAMP(6), 0, '', UTC_TIMESTAMP(6)
        FROM seq_{first}_to_{first + count - 1}"""


def _messages(amount: Amount, now_ms: int, first: int, last: int) -> str:
    """
    Messages of these numbers, the last of all the newest.

    A few people and groups speak much and most of them little; sixty of a hundred are answered.
    """
    texts = ", ".join(f"'{text}'" for text in TEXTS)
    ignored = ", ".join(f"'{reason}'" for reason in IGNORED)
    causes = ", ".join(f"'failed:{cause}'" for cause in CAUSES)
    waiting = amount.messages - amount.waiting * WAITING_EACH
    return f"""INSERT INTO messages (id, bot_wc_id, dedupe_key, new_msg_id, message_type, deliveries,
            account, w_id, from_user, group_id, msg_id, gateway_time, sender_name, text, question,
            raw, state, verdict, detail, error, attempts, crashes, sole_crashes, runs_alone, fence,
            received_at, queued_at, claimed_at, asked_at, first_text_at, answered_at, done_at,
            dify_app, dify_conversation_id, dify_message_id, dify_task_id, dify_run_id,
            total_tokens, total_price, currency, is_cut_short)
        SELECT ((ms - {EPOCH_MS}) << {LOW_BITS}) + n, CONCAT('wxid_bot', room % {BOTS}),
            CONCAT('7', LPAD(n, 18, '0')), CONCAT('7', LPAD(n, 18, '0')), '80001', 1, '1', 'w',
            IF(n >= {waiting}, CONCAT('wxid_', (n - {waiting}) DIV {WAITING_EACH}),
                CONCAT('wxid_', FLOOR(POW(CRC32(CONCAT('p', n)) / 4294967296, 2) * {amount.people}))),
            CONCAT(room, '@chatroom'), n, ms DIV 1000, '',
            IF(state = 'ignored', NULL, line), IF(state = 'ignored', NULL, line),
            IF(state = 'ignored' OR n < {amount.messages - RAW_KEPT}, NULL, REPEAT('{{"data": 1}}', 30)),
            state,
            CASE state WHEN 'done' THEN 'answered' WHEN 'ignored' THEN ELT(1 + dice % {len(IGNORED)}, {ignored})
                WHEN 'dead' THEN ELT(1 + dice % {len(CAUSES)}, {causes})
                WHEN 'refused' THEN 'user_queue_full' ELSE '' END,
            '', IF(state = 'dead', 'dify_rejected: 401 Access token is invalid', ''), state = 'dead',
            0, 0, 0, 1, at, at, at, at,
            IF(state = 'done', at + INTERVAL (300 + dice) * 1000 MICROSECOND, NULL),
            IF(state = 'done', at + INTERVAL (900 + 4 * dice) * 1000 MICROSECOND, NULL),
            IF(state = 'received', NULL, at + INTERVAL (1200 + 5 * dice) * 1000 MICROSECOND),
            'default', '8f14e45f-ceea-467f-a0d1-52c1e3b0c7a1', '', '', '', 120, '', '', 0
        FROM (SELECT *, FROM_UNIXTIME(ms / 1000) AS at, CONCAT(ELT(1 + dice % {len(TEXTS)}, {texts}), ' #', n) AS line,
                CASE WHEN n >= {waiting} THEN 'received' WHEN dice < 620 THEN 'done'
                    WHEN dice < 960 THEN 'ignored' WHEN dice < 985 THEN 'dead' ELSE 'refused' END AS state
            FROM (SELECT seq AS n, CRC32(CONCAT('d', seq)) % 1000 AS dice,
                    FLOOR(POW(CRC32(CONCAT('g', seq)) / 4294967296, 2) * {amount.groups}) AS room,
                    {now_ms} - FLOOR(({amount.messages} - 1 - seq) * {amount.days * DAY_MS} / {amount.messages}) AS ms
                FROM seq_{first}_to_{last}) AS numbers) AS chosen"""


def _segments(where: str) -> str:
    """One for each answer of some, two for every seventh; one in five hundred failed."""
    return f"""INSERT INTO segments (message_id, seq, bot_wc_id, group_id, kind, content, mention,
            text_digest, state, sender, tries, error, msg_id, new_msg_id, created_time, planned_at,
            sending_at, sent_at)
        SELECT id, seq, bot_wc_id, group_id, 'text', '退款一般 1–3 个工作日到账,您的订单已在处理中。',
            from_user, '', IF((id + seq) % 500, 'sent', 'failed'), '', 1, '', '',
            CONCAT('9', seq, SUBSTR(dedupe_key, 3)), 0, answered_at, answered_at, done_at
        FROM messages, seq_0_to_1
        WHERE {where} AND state = 'done' AND (seq = 0 OR id % 7 = 0)"""
