"""What failed, by cause, and letting it go on: estimate first, then with progress and a way to stop."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from app.console.gate import refusal
from app.console.reading.names import read_names
from app.console.replays import JobState
from app.console.visit import Form, Visit
from app.models.flow import WcId
from app.services.dead_letters import Choice, DeadLetters
from app.services.letters import Refusal, ReplayOptions
from app.services.stages import utc_now
from app.utils.ids import parse_id

HERE: Final = "/console/failures/"
PAGE: Final = 20
#: Ids that are replayed by name at once.
MOST_NAMED: Final = 500
RANGES: Final = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
RANGE_WORDS: Final = {"24h": "24 小时", "7d": "7 天", "30d": "30 天", "all": "全部"}
DEFAULT_RANGE: Final = "7d"
REFUSAL_WORDS: Final = {
    Refusal.NOT_FOUND: "没有这条消息",
    Refusal.NOT_DEAD: "已不是失败:在等待、在发送、已有结果,或刚被重放",
    Refusal.TEXT_GONE: "原文已按保留期限清除",
    Refusal.SENDING: "有一段正在发送或等回音,稍后再试",
    Refusal.ONLY_UNDECIDED: "只有不确定的段(可能已在群里);要重发请勾选「不确定的也重发」",
    Refusal.SEGMENTS_OUT: "回答的一部分已在群里,不能重新提问",
}
STATE_WORDS: Final = {
    JobState.RUNNING: "进行中",
    JobState.DONE: "已完成",
    JobState.CANCELLED: "已取消,其余没有动",
    JobState.BROKEN: "中断:数据库不可用或服务停止,其余没有动",
}


async def list_failures(visit: Visit) -> Response:
    """Causes with their counts, and the newest letters of the chosen one."""
    asked, cause = visit.asked("range", 8), visit.asked("cause", 64)
    asked = asked if asked in RANGE_WORDS else DEFAULT_RANGE
    before = parse_id(visit.asked("before"))
    now = utc_now()
    span = RANGES.get(asked)
    since = now - span if span else None
    letters = DeadLetters(visit.parts.runtime.store)
    causes = await letters.counts(Choice(since=since))
    choice = Choice(since=since, cause=cause or None)
    rows = await letters.newest(choice, before=before, limit=PAGE + 1)
    async with visit.parts.runtime.store.read() as connection:
        names = await read_names(
            connection,
            {one.group_id for one in rows} | {one.user for one in rows},
            {(one.group_id, one.user) for one in rows},
        )
    pairs = {"range": asked, **({"cause": cause} if cause else {})}
    following = rows[PAGE - 1].id if len(rows) > PAGE else None
    return visit.page(
        "failures.html",
        causes=causes,
        letters=rows[:PAGE],
        names=names,
        range=asked,
        cause=cause,
        range_words=RANGE_WORDS,
        until=now.isoformat(),
        since=since.isoformat() if since else "",
        pages={
            "first": f"{HERE}?{urlencode(pairs)}" if before is not None else "",
            "next": f"{HERE}?{urlencode({**pairs, 'before': following})}" if following else "",
        },
    )


async def estimate(visit: Visit) -> Response:
    """What would become of the chosen; nothing is changed."""
    choice = _choice_of(visit.form)
    if choice is None:
        return visit.go(HERE, told="nothing_chosen")
    options = _options_of(visit.form)
    found = await visit.parts.replays.estimate(choice, options)
    return visit.page(
        "replay_estimate.html",
        found=found,
        options=options,
        kept=[pair for pair in visit.form.pairs if pair[0] in ("id", "cause", "since", "until")],
        refusal_words=REFUSAL_WORDS,
    )


async def start(visit: Visit) -> Response:
    """Begin; the chosen are looked up anew, since time has passed."""
    choice = _choice_of(visit.form)
    if choice is None:
        return visit.go(HERE, told="nothing_chosen")
    options = _options_of(visit.form)
    found = await visit.parts.replays.estimate(choice, options)
    if not found.ids:
        return visit.go(HERE, told="nothing_to_replay")
    subject = str(found.ids[0]) if len(found.ids) == 1 else f"{len(found.ids)} 条"
    after = "重新提问" if options.ask_again else "接着做"
    by = visit.deed("failures.replay", subject, before=_told(visit.form), after=after)
    job = await visit.parts.replays.start(found, options, by=by)
    return visit.go(f"{HERE}jobs/{job.id}")


async def show_job(visit: Visit) -> Response:
    """How far a replay is."""
    job = await visit.parts.replays.find(visit.request.path_params["job"])
    if job is None:
        return refusal(visit, HTTPStatus.NOT_FOUND, "没有这次重放,或已过去很久。")
    template = "replay_job_part.html" if visit.is_fragment else "replay_job.html"
    return visit.page(template, job=job, job_words=STATE_WORDS)


async def cancel(visit: Visit) -> Response:
    """Stop a replay behind the message that it has in hand."""
    job = visit.request.path_params["job"]
    if await visit.parts.replays.find(job) is None:
        return refusal(visit, HTTPStatus.NOT_FOUND, "没有这次重放,或已过去很久。")
    await visit.parts.audit.note(visit.deed("failures.cancel", job))
    await visit.parts.replays.cancel(job)
    return visit.go(f"{HERE}jobs/{job}")


def _options_of(form: Form) -> ReplayOptions:
    return ReplayOptions(
        ask_again=form.get("ask_again") == "1", resend_unknown=form.get("resend_unknown") == "1"
    )


def _choice_of(form: Form) -> Choice | list[int] | None:
    """Ids by name, or all that meet the conditions; None: neither (pure)."""
    named = [parsed for one in form.all("id") if (parsed := parse_id(one)) is not None]
    if named:
        return named[:MOST_NAMED]
    until = _moment(form.get("until"))
    if until is None:
        return None
    user = form.get("user")
    return Choice(
        since=_moment(form.get("since")),
        until=until,
        cause=form.get("cause") or None,
        user=WcId(user) if user else None,
    )


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _told(form: Form) -> str:
    """The choice for the audit (pure)."""
    return " ".join(
        f"{name}={value}" for name, value in form.pairs if name in ("id", "cause", "since", "until")
    )
