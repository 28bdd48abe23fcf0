"""The endpoints of the simulated gateway that are not sends: login, status, contacts, rooms."""

import asyncio
import json
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from simulators.ecloud_contacts import (
    contact_data,
    login_data,
    member_info,
    member_list,
    room_info,
)
from simulators.ecloud_envelope import Body, Done, Endpoint, Refused, logged_in
from simulators.ecloud_world import Account, Group, World
from simulators.faults import FaultSwitches

CONTACTS_PER_CALL = 20
DEVICES = ("", "ipad", "mac")
#: The regions that the vendor has proxies for.
REGIONS = range(1, 24)
OFFLINE_REASON = "登录出现错误，请你重新登录。"
#: Formats of callbacks: the older one, and the one that the vendor recommends.
NATIVE_FORMAT, OPTIMISED_FORMAT = 1, 2


class UseCallbackUrl(Protocol):
    """Who posts the callbacks."""

    def __call__(self, url: str | None, *, native: bool) -> None:
        """From now on they go there, in the older format if *native*; None: nowhere."""
        ...


class AccountEndpoints:
    """
    Developer login, WeChat login, status and the callback's address.

    *on_login* hears of each WeChat login, and of the path that finished it.
    """

    def __init__(
        self,
        world: World,
        faults: FaultSwitches,
        *,
        authorization: str,
        login_seconds: float,
        on_callback_url: UseCallbackUrl,
        on_login: Callable[[Account, str], None],
        on_offline: Callable[[Account], None],
    ) -> None:
        self.callback_url: str | None = None
        self._world = world
        self._faults = faults
        self._authorization = authorization
        self._login_seconds = login_seconds
        self._on_callback_url = on_callback_url
        self._on_login = on_login
        self._on_offline = on_offline
        self._pending_logins: dict[str, str] = {}

    def table(self) -> dict[str, Endpoint]:
        """Path to endpoint."""
        return {
            "/member/login": self.member_login,
            "/iPadLogin": self.ipad_login,
            "/getIPadLoginInfo": self.ipad_login_info,
            "/secondLogin": self.second_login,
            "/member/offline": self.go_offline,
            "/queryLoginWx": self.query_login,
            "/isOnline": self.is_online,
            "/offlineReason": self.offline_reason,
            "/setHttpCallbackUrl": self.set_callback_url,
            "/cancelHttpCallbackUrl": self.cancel_callback_url,
            "/getHttpCallbackUrl": self.get_callback_url,
        }

    async def member_login(self, body: Body) -> Done:
        """Any password is right but an empty one."""
        if body["account"] != self._world.developer:
            raise Refused("用户名或密码错误")
        data = {
            "callbackUrl": self.callback_url,
            "status": 0,
            "Authorization": self._authorization,
        }
        return Done(data=data, message="登录成功")

    async def ipad_login(self, body: Body) -> Done:
        """A QR code; the login is finished by /getIPadLoginInfo."""
        wc_id = body.get("wcId") or self._world.first_account().wc_id
        if wc_id not in self._world.accounts or (body.get("deviceType") or "") not in DEVICES:
            raise Refused("系统失败,请重试")
        if body.get("proxy") is not None and body["proxy"] not in REGIONS:
            raise Refused("网络链接异常")
        w_id = self._world.new_w_id()
        self._pending_logins[w_id] = wc_id
        return Done(data={"wId": w_id, "qrCodeUrl": f"https://wx.example.invalid/qr/{w_id}.png"})

    async def ipad_login_info(self, body: Body) -> Done:
        """Answers when the code is scanned, here after the set time; the device may want a code, too."""
        w_id = body["wId"]
        if w_id not in self._pending_logins:
            raise Refused("系统失败,请重试")
        if not body.get("verifyCode") and self._faults.strike("verify_code", "/getIPadLoginInfo"):
            raise Refused("请在ipad上输入验证码")
        await asyncio.sleep(self._login_seconds)
        account = self._world.accounts[self._pending_logins.pop(w_id)]
        return self._logged_in(account, w_id, path="/getIPadLoginInfo")

    async def second_login(self, body: Body) -> Done:
        """A login without a QR code, with a new wId; its failure may hide inside a success."""
        account = self._world.accounts.get(body["wcId"])
        if account is None:
            raise Refused("二次登录失败，请重新扫码登录")
        await asyncio.sleep(self._login_seconds)
        if self._faults.strike("nested_failure", "/secondLogin"):
            inner = {"code": "1001", "message": "二次登录失败，请重新扫码登录", "data": None}
            return Done(data=inner)
        return self._logged_in(account, self._world.new_w_id(), path="/secondLogin")

    def _logged_in(self, account: Account, w_id: str, *, path: str) -> Done:
        account.w_id = w_id
        account.online = True
        self._on_login(account, path)
        return Done(data=login_data(account, w_id=w_id), message="登录成功")

    async def go_offline(self, body: Body) -> Done:
        """Log the named accounts out."""
        if body["account"] != self._world.developer:
            raise Refused("系统失败,请重试")
        for wc_id in body["wcIds"]:
            account = self._world.accounts.get(wc_id)
            if account is not None and account.online:
                account.online = False
                self._on_offline(account)
        return Done(message="成功")

    async def query_login(self, _body: Body) -> Done:
        """The accounts that are online, with their present wId."""
        online = [
            {"wcId": account.wc_id, "wId": account.w_id}
            for account in self._world.accounts.values()
            if account.online and not self._faults.strike("offline", "/queryLoginWx")
        ]
        return Done(data=online)

    async def is_online(self, body: Body) -> Done:
        """In the shape of `data.isOnline`, or of the code alone when that is switched on."""
        account = self._world.account_of(body["wId"])
        online = account is not None and account.online
        online = online and not self._faults.strike("offline", "/isOnline")
        if not self._faults.strike("online_by_code", "/isOnline"):
            return Done(data={"isOnline": online})
        if not online:
            raise Refused("离线")
        return Done(message="在线")

    async def offline_reason(self, body: Body) -> Done:
        """null means online; by switch the reason comes as XML in a text."""
        wc_id = body["wcId"]
        account = self._world.accounts.get(wc_id)
        online = account is not None and account.online
        reason = None if online else OFFLINE_REASON
        if reason and self._faults.strike("reason_nested", "/offlineReason"):
            reason = json.dumps(
                f"<e><Content><![CDATA[{reason}]]></Content></e>", ensure_ascii=False
            )
        return Done(data=[{"wcId": wc_id, "reason": reason}])

    async def set_callback_url(self, body: Body) -> Done:
        """One address per developer account, in force at once, for all its WeChat accounts."""
        url, number = body["httpUrl"], body["type"]
        parts = urlsplit(url)
        is_known = number in (NATIVE_FORMAT, OPTIMISED_FORMAT)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not is_known:
            raise Refused("系统失败,请重试")
        self.callback_url = url
        self._on_callback_url(url, native=number == NATIVE_FORMAT)
        return Done(message="设置成功")

    async def cancel_callback_url(self, _body: Body) -> Done:
        """No more callbacks."""
        self.callback_url = None
        self._on_callback_url(None, native=False)
        return Done(message="成功")

    async def get_callback_url(self, _body: Body) -> Done:
        """The address in force."""
        return Done(data={"url": self.callback_url})


class ContactEndpoints:
    """People and rooms; each call needs the wId of a present login."""

    def __init__(self, world: World, faults: FaultSwitches) -> None:
        self._world = world
        self._faults = faults

    def table(self) -> dict[str, Endpoint]:
        """Path to endpoint."""
        return {
            "/getContact": self.get_contact,
            "/getChatRoomMember": self.members,
            "/getChatRoomMemberInfo": self.member_info,
            "/getChatRoomInfo": self.room_info,
            "/initAddressList": self.init_address_list,
            "/getAddressList": self.address_list,
        }

    async def get_contact(self, body: Body) -> Done:
        """Up to twenty ids with commas; unknown ones, and strangers, are left out."""
        logged_in(self._world, body)
        ids = [part.strip() for part in body["wcId"].split(",") if part.strip()]
        if len(ids) > CONTACTS_PER_CALL:
            raise Refused(f"单次最多查询{CONTACTS_PER_CALL}个联系人")
        partial = self._faults.strike("partial_strangers", "/getContact") is not None
        found = (contact_data(self._world, one, partial_strangers=partial) for one in ids)
        return Done(data=[data for data in found if data is not None], message="获取联系人成功")

    async def members(self, body: Body) -> Done:
        """All members of a room with their display names."""
        found = member_list(self._world, self._room(body))
        if self._faults.strike("nike_name", "/getChatRoomMember"):
            found = [{_misspelt(name): value for name, value in one.items()} for one in found]
        return Done(data=found)

    async def member_info(self, body: Body) -> Done:
        """One member of a room."""
        group = self._room(body)
        wc_id = body["userList"]
        if wc_id not in group.members:
            raise Refused("获取群成员信息失败")
        return Done(data=[member_info(self._world, wc_id)])

    async def room_info(self, body: Body) -> Done:
        """The room itself."""
        return Done(data=[room_info(self._world, self._room(body))])

    async def init_address_list(self, body: Body) -> Done:
        """Slow at the real gateway; here it takes no time."""
        logged_in(self._world, body)
        return Done(message="初始化通讯录成功")

    async def address_list(self, body: Body) -> Done:
        """Ids only; strangers are not in it."""
        logged_in(self._world, body)
        friends = [person.wc_id for person in self._world.people.values() if person.friend]
        data = {"chatrooms": list(self._world.groups), "friends": friends, "ghs": [], "others": []}
        return Done(data=data, message="获取通讯录成功")

    def _room(self, body: Body) -> Group:
        account = logged_in(self._world, body)
        group = self._world.groups.get(body["chatRoomId"])
        if group is None or account.wc_id not in group.members:
            raise Refused("群不存在")
        return group


def _misspelt(name: str) -> str:
    return "nikeName" if name == "nickName" else name
