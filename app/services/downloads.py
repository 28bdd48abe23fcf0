"""Files fetched from where the gateway keeps them: bounded, without redirects, from nowhere inside."""

import asyncio
from collections.abc import Collection

import aiohttp

from app.services.addresses import WebAddress, read_address
from app.services.errors import DownloadFailed

#: Whole time of one file, in seconds.
DOWNLOAD_SECONDS = 60.0
_OK = 200


class Downloader:
    """
    Fetches files. No header that could be a secret goes along.

    Args:
        public: reaches public addresses only.
        own: the usual client, for hosts that the settings name.
        own_hosts: where the gateway itself stands; it may be inside.
    """

    def __init__(
        self,
        public: aiohttp.ClientSession,
        *,
        own: aiohttp.ClientSession,
        own_hosts: Collection[str],
    ) -> None:
        self._public = public
        self._own = own
        self._own_hosts = frozenset(own_hosts)

    async def fetch(self, url: str, *, most: int) -> bytes:
        """
        The whole file.

        Args:
            most: bytes; more is refused before it is there.

        Raises:
            DownloadFailed: its reason says why.
        """
        address = read_address(url)
        if address is None:
            raise DownloadFailed("bad_address")
        is_own = address.host in self._own_hosts
        if address.is_private and not is_own:
            raise DownloadFailed("private_host")
        http = self._own if is_own else self._public
        try:
            async with asyncio.timeout(DOWNLOAD_SECONDS):
                return await _read(http, address, most)
        except TimeoutError as error:
            raise DownloadFailed("too_slow") from error
        except (aiohttp.ClientError, OSError) as error:
            raise DownloadFailed("not_reached") from error


async def _read(http: aiohttp.ClientSession, address: WebAddress, most: int) -> bytes:
    async with http.get(str(address), allow_redirects=False) as response:
        if response.status != _OK:
            raise DownloadFailed(f"http_{response.status}")
        if (response.content_length or 0) > most:
            raise DownloadFailed("too_large")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                raise DownloadFailed("too_large")
        return bytes(body)
