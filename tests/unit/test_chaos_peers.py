"""Who is at the other end of a connection."""

import asyncio
import os

from bench.chaos.peers import find_inode, process_of

TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2710 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 11 1 0 100 0 0 10 0
   1: 0100007F:9C40 0100007F:2710 01 00000000:00000000 00:00000000 00000000  0 0 22 1 0 20 4 30 10 -1
   2: 0100007F:2710 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  0 0 33 1 0 20 4 30 10 -1
"""


def test_the_client_s_socket_is_found_not_the_server_s() -> None:
    """Both ends stand in the same table."""
    assert find_inode(TABLE, local_port=40_000, remote_port=10_000) == "22"
    assert find_inode(TABLE, local_port=10_000, remote_port=40_000) == "33"
    assert find_inode(TABLE, local_port=1, remote_port=2) is None


async def test_the_process_of_a_real_connection_is_found_among_those_named() -> None:
    """This one; nobody when it is not among them."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    own = writer.get_extra_info("sockname")[1]

    found = [process_of(own, server_port=port, among=some) for some in ([os.getpid()], [])]
    writer.close()
    await writer.wait_closed()
    server.close()

    assert found == [os.getpid(), None]
