"""``operators``: who may log in to the console."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.commands.database import with_database
from app.commands.output import (
    WRONG_USE,
    AsJson,
    fail,
    local_time,
    print_json,
    print_table,
    printable,
)
from app.models.roles import OperatorRole

if TYPE_CHECKING:
    from app.services.operators import Operator, Operators
    from app.services.store import Store

T = TypeVar("T")

operators = typer.Typer(help="管理后台的账号:列出、添加、重设密码、停用。", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="用户名", help="1 到 64 个字符")]
FromInput = Annotated[
    bool, typer.Option("--stdin", help="从标准输入读密码;不写则随机生成,只显示一次")
]


@operators.command("list")
def operators_list(*, as_json: AsJson = False) -> None:
    """列出全部账号。"""
    found = _with_operators(lambda table: table.all())
    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "role": str(one.role),
                    "created_at": local_time(one.created_at),
                    "is_disabled": one.is_disabled,
                }
                for one in found
            ]
        )
        return
    print_table(
        ("用户名", "角色", "添加时间", "状态"),
        [
            (
                printable(one.name),
                str(one.role),
                local_time(one.created_at),
                "停用" if one.is_disabled else "可登录",
            )
            for one in found
        ],
    )


@operators.command("add")
def operators_add(
    name: Name,
    role: Annotated[
        OperatorRole, typer.Option("--role", help="viewer 只看,operator 可操作,admin 全部")
    ] = OperatorRole.VIEWER,
    *,
    from_input: FromInput = False,
) -> None:
    """添加一个账号;密码随机生成并显示一次,或从标准输入读。"""
    from app.services.audit import ON_THE_MACHINE, Deed  # noqa: PLC0415 - late
    from app.services.operators import LONGEST_NAME  # noqa: PLC0415 - late
    from app.utils.passwords import Passwords  # noqa: PLC0415 - late

    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        fail(f"用户名要 1 到 {LONGEST_NAME} 个可见字符。", WRONG_USE)
    password = _password(from_input=from_input)
    deed = Deed(operator=ON_THE_MACHINE, action="operator.add", subject=name, after=role)

    async def work(table: "Operators") -> bool:
        return await table.add(name, await Passwords().hash(password), role, by=deed)

    if not _with_operators(work):
        fail(f"已经有名为 {printable(name)} 的账号。")
    _tell(f"已添加 {printable(name)}({role})", password, from_input=from_input)


@operators.command("password")
def operators_password(name: Name, *, from_input: FromInput = False) -> None:
    """重设一个账号的密码;它现有的登录全部失效。"""
    from app.services.audit import ON_THE_MACHINE, Deed  # noqa: PLC0415 - late
    from app.utils.passwords import Passwords  # noqa: PLC0415 - late

    password = _password(from_input=from_input)
    deed = Deed(operator=ON_THE_MACHINE, action="operator.password", subject=name)

    async def work(table: "Operators", one: "Operator") -> None:
        await table.set_password(one, await Passwords().hash(password), by=deed)

    _change(name, work)
    _tell(f"已重设 {printable(name)} 的密码", password, from_input=from_input)


@operators.command("disable")
def operators_disable(name: Name) -> None:
    """停用一个账号:不能再登录,现有的登录立刻失效。"""
    _set_disabled(name, is_disabled=True)
    typer.echo(f"已停用 {printable(name)}")


@operators.command("enable")
def operators_enable(name: Name) -> None:
    """重新启用一个停用的账号。"""
    _set_disabled(name, is_disabled=False)
    typer.echo(f"已启用 {printable(name)}")


def _set_disabled(name: str, *, is_disabled: bool) -> None:
    from app.services.audit import ON_THE_MACHINE, Deed  # noqa: PLC0415 - late

    action = "operator.disable" if is_disabled else "operator.enable"
    deed = Deed(operator=ON_THE_MACHINE, action=action, subject=name)

    async def work(table: "Operators", one: "Operator") -> None:
        await table.set_disabled(one, is_disabled=is_disabled, by=deed)

    _change(name, work)


def _change(name: str, work: "Callable[[Operators, Operator], Awaitable[None]]") -> None:
    """Change one operator; one that there is not ends the command."""

    async def find_and_work(table: "Operators") -> bool:
        one = await table.named(name)
        if one is not None:
            await work(table, one)
        return one is not None

    if not _with_operators(find_and_work):
        fail(f"没有名为 {printable(name)} 的账号。")


def _with_operators(work: "Callable[[Operators], Awaitable[T]]") -> T:
    async def run(store: "Store") -> T:
        from app.services.operators import Operators  # noqa: PLC0415 - late

        return await work(Operators(store))

    return with_database(run)


def _password(*, from_input: bool) -> str:
    from app.utils.passwords import (  # noqa: PLC0415 - late
        LONGEST,
        SHORTEST,
        is_allowed,
        make_password,
    )

    if not from_input:
        return make_password()
    password = typer.get_text_stream("stdin").readline().rstrip("\r\n")
    if not is_allowed(password):
        fail(f"密码要 {SHORTEST} 到 {LONGEST} 个字符。", WRONG_USE)
    return password


def _tell(done: str, password: str, *, from_input: bool) -> None:
    typer.echo(done if from_input else f"{done},密码(只显示这一次):{password}")
