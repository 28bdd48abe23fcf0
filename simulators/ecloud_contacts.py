"""How the gateway shows people and rooms in its answers; pure functions of the world."""

from typing import Any

from simulators.ecloud_world import Account, Group, Person, World


def contact_data(world: World, wc_id: str, *, partial_strangers: bool) -> dict[str, Any] | None:
    """One element of /getContact; None where the gateway leaves the id out."""
    group = world.groups.get(wc_id)
    if group is not None:
        return _room_as_contact(group)
    account = world.accounts.get(wc_id)
    if account is not None:
        return _full(_as_person(account))
    person = world.people.get(wc_id)
    if person is None:
        return None
    if person.friend:
        return _full(person)
    if partial_strangers:
        return {"userName": wc_id, "nickName": person.nick_name, "v1": f"v3_{wc_id}@stranger"}
    return None


def member_info(world: World, wc_id: str) -> dict[str, Any]:
    """One element of /getChatRoomMemberInfo, strangers too."""
    person = world.people.get(wc_id)
    if person is None:
        account = world.accounts.get(wc_id)
        person = _as_person(account) if account else Person(wc_id=wc_id, nick_name="")
    return {**_full(person), "v2": f"v4_{wc_id}@stranger"}


def member_list(world: World, group: Group) -> list[dict[str, Any]]:
    """/getChatRoomMember: nicknames and the names shown in this group."""
    return [
        {
            "chatRoomId": group.group_id,
            "userName": wc_id,
            "nickName": world.nick_name(wc_id),
            "chatRoomOwner": None,
            "bigHeadImgUrl": avatar(wc_id, 0),
            "smallHeadImgUrl": avatar(wc_id, 132),
            "v1": None,
            "memberCount": 0,
            "displayName": shown,
            "chatRoomMembers": None,
            "chatRoomMemberFlag": 1,
            "inviterUserName": group.owner,
            "isManage": wc_id == group.owner,
        }
        for wc_id, shown in group.members.items()
    ]


def room_info(world: World, group: Group) -> dict[str, Any]:
    """The one element of /getChatRoomInfo."""
    return {
        "chatRoomId": group.group_id,
        "userName": group.group_id,
        "nickName": group.name,
        "chatRoomOwner": group.owner,
        "bigHeadImgUrl": None,
        "smallHeadImgUrl": avatar(group.group_id, 0),
        "v1": f"v1_{group.group_id}",
        "memberCount": len(group.members),
        "displayName": "",
        "inviterUserName": "",
        "notify": 1,
        "isManage": None,
        "chatRoomMembers": [
            {
                "userName": wc_id,
                "nickName": world.nick_name(wc_id),
                "inviterUserName": group.owner,
                "isManage": wc_id == group.owner,
            }
            for wc_id in group.members
        ],
    }


def login_data(account: Account, *, w_id: str) -> dict[str, Any]:
    """What a finished login tells of the account."""
    return {
        "wcId": account.wc_id,
        "nickName": account.nick_name,
        "wAccount": account.wc_id,
        "deviceType": "ipad",
        "uin": 1_234_567_890,
        "headUrl": avatar(account.wc_id, 0),
        "smallHeadImgUrl": avatar(account.wc_id, 132),
        "sex": 0,
        "mobilePhone": "13900000000",
        "country": "CN",
        "city": "",
        "signature": "",
        "status": 3,
        "wId": w_id,
        "type": 2,
        "username": account.wc_id,
    }


def avatar(wc_id: str, size: int) -> str:
    """An address of the form WeChat gives; nothing answers there."""
    return f"https://wx.example.invalid/mmhead/{wc_id.partition('@')[0]}/{size}"


def _as_person(account: Account) -> Person:
    return Person(wc_id=account.wc_id, nick_name=account.nick_name)


def _full(person: Person) -> dict[str, Any]:
    return {
        "userName": person.wc_id,
        "nickName": person.nick_name,
        "remark": person.remark,
        "signature": "",
        "sex": person.sex,
        "aliasName": person.alias,
        "country": person.country,
        "bigHead": avatar(person.wc_id, 0),
        "smallHead": avatar(person.wc_id, 132),
        "labelList": "",
        "v1": f"v1_{person.wc_id}@stranger",
    }


def _room_as_contact(group: Group) -> dict[str, Any]:
    return {
        "userName": group.group_id,
        "nickName": group.name,
        "remark": "",
        "signature": "",
        "sex": 0,
        "aliasName": None,
        "country": None,
        "bigHead": None,
        "smallHead": avatar(group.group_id, 0),
        "labelList": None,
        "v1": group.group_id,
    }
