"""The WeChat side of the simulated gateway: accounts, people, groups and the ids it gives out."""

import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

GROUP_SUFFIX = "@chatroom"


@dataclass(slots=True, kw_only=True)
class Person:
    """Somebody in a group; a stranger is not in the address book of the accounts."""

    wc_id: str
    nick_name: str
    friend: bool = True
    alias: str | None = None
    sex: int = 0
    """0 unknown, 1 male, 2 female."""
    remark: str = ""
    country: str | None = "CN"


@dataclass(slots=True, kw_only=True)
class Account:
    """A WeChat account that is logged in at the gateway; `w_id` changes with each login."""

    wc_id: str
    nick_name: str
    w_id: str
    online: bool = True


@dataclass(slots=True, kw_only=True)
class Group:
    """A room; `members` maps a wcId to the name shown in this group ("" = none set)."""

    group_id: str
    name: str
    owner: str
    members: dict[str, str] = field(default_factory=dict)


class World:
    """Everybody the gateway knows, and its sources of ids."""

    def __init__(self, *, developer: str = "13900000001", seed: int | None = None) -> None:
        self.developer = developer
        self.accounts: dict[str, Account] = {}
        self.people: dict[str, Person] = {}
        self.groups: dict[str, Group] = {}
        self._chance = random.Random(seed)
        self._given = 0
        #: Beyond what a signed number of 32 bits holds, as some of the gateway's are.
        self._msg_id = 2_562_652_200

    @classmethod
    def playground(cls, seed: int | None = None) -> "World":
        """One account 小助手, the group 体验群 and in it 小明, 小红 and the stranger 老王."""
        world = cls(seed=seed)
        world.add_account("wxid_botaaaa0000b22", "小助手")
        world.add_person("wxid_xiaoming0a1b21", "小明", sex=1, alias="xiaoming88")
        world.add_person("wxid_xiaohong0c2d22", "小红", sex=2, remark="红姐")
        world.add_person("laowang-1975", "老王", friend=False, sex=1)
        world.add_group(
            "40000000001@chatroom",
            "体验群",
            {"wxid_xiaoming0a1b21": "", "wxid_xiaohong0c2d22": "", "laowang-1975": "老王（财务）"},
        )
        return world

    def add_readme_example(self) -> None:
        """The account, person and group of the README's example callback, so that it is answered."""
        account = self.add_account("wxid_phyyedw9xap22", "示例助手")
        account.w_id = "12491ae9-62aa-4f7a-83e6-9db4e9f28e3c"
        self.add_person("wxid_ynu1tgjz156j22", "阿珍")
        group = self.add_group("25411981800@chatroom", "README 示例群", ["wxid_ynu1tgjz156j22"])
        group.members = dict.fromkeys((account.wc_id, "wxid_ynu1tgjz156j22"), "")

    @classmethod
    def crowd(cls, *, groups: int, people: int, accounts: int = 1, seed: int = 0) -> "World":
        """*groups* groups of *people* friends each; nobody is in two groups."""
        world = cls(seed=seed)
        for number in range(1, accounts + 1):
            world.add_account(f"wxid_bot{number:05d}b22", f"小助手{number}")
        for number in range(1, groups + 1):
            names = [f"wxid_g{number:04d}p{place:04d}" for place in range(1, people + 1)]
            for place, wc_id in enumerate(names, start=1):
                world.add_person(wc_id, f"群友{number}-{place}")
            world.add_group(f"{40_000_000_000 + number}@chatroom", f"群{number}", names)
        return world

    def add_account(self, wc_id: str, nick_name: str) -> Account:
        """A new account, online."""
        account = Account(wc_id=wc_id, nick_name=nick_name, w_id=self.new_w_id())
        self.accounts[wc_id] = account
        return account

    def add_person(
        self,
        wc_id: str,
        nick_name: str,
        *,
        friend: bool = True,
        alias: str | None = None,
        sex: int = 0,
        remark: str = "",
    ) -> Person:
        """A new person."""
        person = Person(
            wc_id=wc_id, nick_name=nick_name, friend=friend, alias=alias, sex=sex, remark=remark
        )
        self.people[wc_id] = person
        return person

    def add_group(self, group_id: str, name: str, members: dict[str, str] | Iterable[str]) -> Group:
        """A new group of these people and of all accounts."""
        shown = members if isinstance(members, dict) else dict.fromkeys(members, "")
        everybody = {**dict.fromkeys(self.accounts, ""), **shown}
        owner = next(iter(shown), next(iter(self.accounts), ""))
        group = Group(group_id=group_id, name=name, owner=owner, members=everybody)
        self.groups[group_id] = group
        return group

    def account_of(self, w_id: str) -> Account | None:
        """The account whose present login this is."""
        return next((one for one in self.accounts.values() if one.w_id == w_id), None)

    def place_of(self, account: Account) -> int:
        """Its place among the accounts, from 0."""
        return list(self.accounts).index(account.wc_id)

    def own_msg_id(self, account: Account, msg_id: int) -> int:
        """The msgId under which this account got what the first one got under *msg_id*."""
        return msg_id + self._shift_of(account)

    def first_msg_id(self, account: Account, msg_id: int) -> int:
        """The msgId under which the first one got what this account got under *msg_id*."""
        return msg_id - self._shift_of(account)

    def _shift_of(self, account: Account) -> int:
        return self.place_of(account) * 1_000_000

    def first_account(self) -> Account:
        """The account meant when none is named."""
        return next(iter(self.accounts.values()))

    def nick_name(self, wc_id: str) -> str:
        """The nickname of an account or person; "" if unknown."""
        known = self.people.get(wc_id) or self.accounts.get(wc_id)
        return known.nick_name if known else ""

    def shown_name(self, group: Group, wc_id: str) -> str:
        """The name others see in the group, and write after an @."""
        return group.members.get(wc_id) or self.nick_name(wc_id)

    def new_w_id(self) -> str:
        """A fresh login instance."""
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def new_ids(self) -> tuple[int, int]:
        """
        A msgId and a newMsgId.

        msgIds grow. newMsgIds look random, never repeat, and are odd numbers between 2^60 and
        2^61, so none of them survives a passage through a double.
        """
        self._given += 1
        self._msg_id += self._chance.randint(1, 3)
        new_msg_id = (1 << 60) | (self._chance.getrandbits(35) << 25) | (self._given << 1) | 1
        return self._msg_id, new_msg_id
