"""Whom the operator is told through, as the settings say it; and what stops the start."""

import json

import pytest

from config import SettingsError, load_settings
from settings.alerts import AlertsSettings

WECOM = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
FEISHU = "https://open.feishu.cn/open-apis/bot/v2/hook/a1b2c3d4-0000-1111-2222-333344445555"


def alerts(**variables: str) -> AlertsSettings:
    """Of these variables alone."""
    return load_settings(environ=variables, env_file=None, config_file=None).settings.alerts


def test_nobody_is_told_unless_somebody_is_named() -> None:
    """Neither robot nor mailbox."""
    assert (alerts().every_channel(), alerts().smtp_host) == ((), "")


def test_flat_robots_come_first_and_further_ones_have_names_of_their_own() -> None:
    """Two groups of 企业微信, one of 飞书 with a signature."""
    more = [{"name": "boss", "kind": "wecom", "url": WECOM}]
    found = alerts(
        ALERTS_WECOM_URL=WECOM,
        ALERTS_FEISHU_URL=FEISHU,
        ALERTS_FEISHU_SECRET="signing",
        ALERTS_CHANNELS=json.dumps(more),
    ).every_channel()

    assert [(one.name, one.kind) for one in found] == [
        ("wecom", "wecom"),
        ("feishu", "feishu"),
        ("boss", "wecom"),
    ]
    assert found[1].secret.get_secret_value() == "signing"
    assert found[2].secret.get_secret_value() == ""


@pytest.mark.parametrize("host", ["mail.example.com", "10.0.0.5", "::1", "fe80::1:2"])
def test_a_mail_server_is_a_name_or_an_address(host: str) -> None:
    """Of either kind."""
    mail = {"ALERTS_MAIL_FROM": "a@b.c", "ALERTS_MAIL_TO": '["d@e.f"]'}
    assert alerts(ALERTS_SMTP_HOST=host, **mail).smtp_host == host


def test_what_is_a_key_in_an_address_is_hidden_and_its_words_are_not() -> None:
    """Else ``webhook`` and ``send`` would be blotted out of every log."""
    settings = load_settings(
        environ={
            "ALERTS_WECOM_URL": WECOM,
            "ALERTS_FEISHU_URL": FEISHU,
            "ALERTS_DINGTALK_URL": "https://oapi.dingtalk.com/robot/send?access_token=0123456789abcdef",
            "ALERTS_DINGTALK_SECRET": "SECabc",
            "ALERTS_SMTP_HOST": "mail.example.com",
            "ALERTS_SMTP_USER": "bot",
            "ALERTS_SMTP_PASSWORD": "mail-password",
            "ALERTS_MAIL_FROM": "bot@example.com",
            "ALERTS_MAIL_TO": '["ops@example.com"]',
        },
        env_file=None,
        config_file=None,
    ).settings

    assert set(settings.secrets()) == {
        WECOM,
        "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa",
        FEISHU,
        "a1b2c3d4-0000-1111-2222-333344445555",
        "https://oapi.dingtalk.com/robot/send?access_token=0123456789abcdef",
        "0123456789abcdef",
        "SECabc",
        "mail-password",
    }
    assert "693a91f6" not in repr(settings)


@pytest.mark.parametrize(
    ("variables", "setting"),
    [
        ({"ALERTS_WECOM_URL": "qyapi.weixin.qq.com/x"}, "alerts.wecom_url"),
        ({"ALERTS_WECOM_URL": "ftp://qyapi.weixin.qq.com/x"}, "alerts.wecom_url"),
        ({"ALERTS_WECOM_URL": "https://user:pw@host/x"}, "alerts.wecom_url"),
        ({"ALERTS_WEBHOOK_URL": "https://host/x y"}, "alerts.webhook_url"),
        ({"ALERTS_WEBHOOK_URL": "https://host/x#y"}, "alerts.webhook_url"),
        ({"ALERTS_DINGTALK_SECRET": "SECabc"}, "alerts.dingtalk_url"),
        ({"ALERTS_FEISHU_SECRET": "abc"}, "alerts.feishu_url"),
        ({"ALERTS_WEBHOOK_SECRET": "abc"}, "alerts.webhook_url"),
        ({"ALERTS_SMTP_HOST": "mail.example.com"}, "alerts.mail_from"),
        ({"ALERTS_SMTP_HOST": "m", "ALERTS_MAIL_FROM": "a@b.c"}, "alerts.mail_to"),
        ({"ALERTS_MAIL_TO": '["a@b.c"]'}, "alerts.smtp_host"),
        ({"ALERTS_MAIL_TO": '["a@b.c\\nBcc: x@y.z"]'}, "alerts.mail_to"),
        ({"ALERTS_MAIL_FROM": "Bot <a@b.c>"}, "alerts.mail_from"),
        ({"ALERTS_SMTP_USER": "bot"}, "alerts.smtp_password"),
        ({"ALERTS_SMTP_PASSWORD": "pw"}, "alerts.smtp_user"),
        ({"ALERTS_SMTP_HOST": "mail.example.com:25"}, "alerts.smtp_host"),
        ({"ALERTS_SMTP_PORT": "0"}, "alerts.smtp_port"),
        ({"ALERTS_SMTP_SECURITY": "ssl"}, "alerts.smtp_security"),
        ({"ALERTS_HOLD": "0"}, "alerts.hold"),
        ({"ALERTS_REMINDER": "-1"}, "alerts.reminder"),
        ({"ALERTS_DISK_FREE": "1.5"}, "alerts.disk_free"),
        ({"ALERTS_NAME": "x" * 65}, "alerts.name"),
        (
            {"ALERTS_CHANNELS": '[{"name": "wecom", "kind": "wecom", "url": "http://h/x"}]'},
            "alerts.channels",
        ),
        (
            {"ALERTS_CHANNELS": '[{"name": "a", "kind": "slack", "url": "http://h/x"}]'},
            "alerts.channels",
        ),
        ({"ALERTS_CHANNELS": '[{"name": "a", "kind": "wecom", "url": ""}]'}, "alerts.channels"),
        ({"ALERTS_CHANNELS": '[{"name": "a", "kind": "wecom"}]'}, "alerts.channels"),
    ],
)
def test_what_cannot_work_stops_the_start_and_is_named(
    variables: dict[str, str], setting: str
) -> None:
    """With what may stand there, and no secret."""
    with pytest.raises(SettingsError) as caught:
        alerts(**variables)

    said = str(caught.value)
    assert setting in said
    assert "允许:" in said
    assert "SECabc" not in said
    assert "user:pw" not in said
