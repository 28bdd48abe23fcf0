"""What a look at the gateway finds."""

import pytest

from app.services.checks.ecloud_rules import GatewayFacts, judge_gateway
from app.services.ecloud.callback_url import masked, own_urls

TOKENS = ("new-token-0123456789", "old-token-0123456789")
OWN = own_urls("https://bot.example/bridge/", TOKENS)


def test_own_addresses_have_the_prefix_and_each_valid_token() -> None:
    """The first is registered; one with the old token still arrives."""
    assert tuple(f"https://bot.example/bridge/api/v1/callback/{one}" for one in TOKENS) == OWN
    assert own_urls("http://a:8000", ()) == ("http://a:8000/api/v1/callback",)
    assert "token-0123456789" not in masked(OWN[0], TOKENS)


@pytest.mark.parametrize(
    ("registered", "own", "callback", "codes"),
    [
        (OWN[0], OWN, "ours", ()),
        (OWN[1], OWN, "ours", ()),
        (
            "https://other.example/api/v1/callback/x",
            OWN,
            "elsewhere",
            ("ecloud_callback_elsewhere",),
        ),
        (OWN[0], (), "ours", ()),
        ("https://proxy.example/api/v1/callback/" + TOKENS[1], (), "ours", ()),
        ("https://proxy.example/hook", (), "elsewhere", ("ecloud_callback_elsewhere",)),
        ("", OWN, "none", ("ecloud_callback_none",)),
        (None, OWN, "unknown", ()),
    ],
)
def test_where_the_gateway_posts_to_is_judged(
    registered: str | None, own: tuple[str, ...], callback: str, codes: tuple[str, ...]
) -> None:
    """Against the settings' address, or, where that is not set, by the path alone."""
    look = judge_gateway(GatewayFacts(online=1, registered=registered), own=own, tokens=TOKENS)

    assert look.facts == {"online": 1, "callback": callback}
    assert tuple(one.code for one in look.findings) == codes
    assert not any(token in one.text for one in look.findings for token in TOKENS)


def test_nobody_online_is_told() -> None:
    """Nothing arrives and nothing can be sent."""
    look = judge_gateway(GatewayFacts(online=0, registered=None), own=OWN, tokens=TOKENS)

    assert [one.code for one in look.findings] == ["ecloud_nobody_online"]
