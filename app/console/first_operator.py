"""The first start makes ``admin``; a random password is shown once, on the process's output, never in the log."""

import sys
from typing import Final

from loguru import logger

from app.models.roles import OperatorRole
from app.services.audit import ON_THE_MACHINE, Deed
from app.services.errors import StoreUnavailable
from app.services.operators import FIRST_NAME, Operators
from app.services.store import Store
from config import ConsoleSettings

_BOX: Final = """
────────────────────────────────────────────────────────────
  管理后台 /console/ 的第一个账号(密码只显示这一次):

      用户名  {name}
      密码    {password}

  登录后请在右上角修改;忘了就运行
  python -m app.cli operators password {name}
────────────────────────────────────────────────────────────
"""


async def make_first_operator(store: Store, settings: ConsoleSettings) -> bool:
    """
    Make ``admin`` where nobody was ever added.

    Returns:
        Whether there is somebody; False: the database is away, ask again.
    """
    operators = Operators(store)
    try:
        if not await operators.are_none():
            return True
        # Loaded here: a process that has its operators needs none of it.
        from app.utils.passwords import Passwords, make_password  # noqa: PLC0415

        chosen = settings.password.get_secret_value()
        password = chosen or make_password()
        deed = Deed(
            operator=ON_THE_MACHINE, action="operator.add", subject=FIRST_NAME, after="admin"
        )
        digest = await Passwords().hash(password)
        is_ours = await operators.add(FIRST_NAME, digest, OperatorRole.ADMIN, by=deed)
    except StoreUnavailable as error:
        logger.warning("console.no_operator_yet", error=error)
        return False
    if is_ours:
        logger.info("console.first_operator", name=FIRST_NAME)
        if not chosen:
            sys.stderr.write(_BOX.format(name=FIRST_NAME, password=password))
    return True
