"""
The operator's commands: ``python -m app.cli --help``.

Imports of the bridge's parts stand inside the commands, so that the help and the container's
health check cost nothing. Exit codes: 0 done, 1 it did not work, 2 wrong use or wrong settings.
"""

import typer

from app.commands.alerts import alerts
from app.commands.bench import bench
from app.commands.callback import callback
from app.commands.doctor import doctor
from app.commands.export import conversations, messages
from app.commands.failed import failed
from app.commands.groups import groups
from app.commands.ledger import ledger
from app.commands.operators import operators
from app.commands.output import FAILED, AsJson, fail, outer_setting, print_json
from app.commands.pause import pause, resume
from app.commands.people import people
from app.commands.queue import queue
from app.commands.recall import recall
from app.commands.reset import reset
from app.commands.settings import settings
from app.commands.usage import usage

#: Seconds; the container's own bound for the check is 5.
HEALTH_SECONDS = 4.0
WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not listened on

app = typer.Typer(
    help="E云管家-DifyAI对接服务的管理命令。设置的来源与服务相同:环境变量、.env、管理后台、config.json。",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def version(as_json: AsJson = False) -> None:
    """显示版本。"""
    from app.version import VERSION  # noqa: PLC0415 - late

    print_json({"version": VERSION}) if as_json else typer.echo(VERSION)


@app.command()
def healthcheck() -> None:
    """检查本机的服务进程是否存活(GET /healthz),供容器使用。"""
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - late

    listens, port = (outer_setting(f"server.{key}", FAILED) for key in ("host", "port"))
    host = "127.0.0.1" if listens in WILDCARDS else listens
    if not port:
        fail("server.port 为 0,端口由系统选定,无法检查。")
    # Not urllib: it would follow the proxy variables of the environment.
    connection = HTTPConnection(host, port, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        fail(f"http://{host}:{port}/healthz 没有回应:{type(error).__name__}")
    finally:
        connection.close()
    if status != 200:  # noqa: PLR2004 - HTTP's word for it
        fail(f"http://{host}:{port}/healthz 返回 {status}")
    typer.echo("ok")


app.add_typer(settings, name="settings")
app.command()(doctor)
app.command()(ledger)
app.command()(usage)
app.add_typer(alerts, name="alerts")
app.command()(bench)
app.command()(recall)
app.add_typer(callback, name="callback")
app.add_typer(pause, name="pause")
app.add_typer(resume, name="resume")
app.add_typer(queue, name="queue")
app.add_typer(groups, name="groups")
app.add_typer(failed, name="failed")
conversations.command("reset")(reset)
app.add_typer(conversations, name="conversations")
app.add_typer(messages, name="messages")
app.add_typer(people, name="people")
app.add_typer(operators, name="operators")


if __name__ == "__main__":
    app(prog_name="python -m app.cli")
