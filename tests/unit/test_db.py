"""Database addresses: as the operator writes them, with the drivers this program uses."""

import pytest

from app.utils.db import async_url, is_sqlite, sync_url


@pytest.mark.parametrize(
    "written", ["mysql", "mysql+pymysql", "mysql+asyncmy", "mysql+aiomysql", "mariadb"]
)
def test_every_way_to_write_mysql_is_understood(written: str) -> None:
    """Password, port and query stay as they are."""
    url = f"{written}://u%40x:p%2Fw%25@db:3307/bridge?charset=utf8mb4&ssl_ca=%2Fca.pem"

    for converted, driver in ((async_url(url), "mysql+asyncmy"), (sync_url(url), "mysql+pymysql")):
        assert converted.drivername == driver
        assert (converted.username, converted.password) == ("u@x", "p/w%")
        assert (converted.host, converted.port, converted.database) == ("db", 3307, "bridge")
        assert dict(converted.query) == {"charset": "utf8mb4", "ssl_ca": "/ca.pem"}
    assert not is_sqlite(url)


@pytest.mark.parametrize("written", ["sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"])
def test_every_way_to_write_sqlite_is_understood(written: str) -> None:
    """The path stays as it is, spaces included."""
    url = f"{written}:////srv/a b/bridge.db"

    assert async_url(url).drivername == "sqlite+aiosqlite"
    assert sync_url(url).drivername == "sqlite"
    assert async_url(url).database == sync_url(url).database == "/srv/a b/bridge.db"
    assert is_sqlite(url)


@pytest.mark.parametrize("url", ["postgresql://u:secret@db/x", "mysql+oursql://u:secret@db/x"])
def test_other_databases_are_refused_without_showing_the_password(url: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError, match="mysql\\+pymysql") as caught:
        async_url(url)

    assert "secret" not in str(caught.value)
