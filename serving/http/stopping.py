"""The end of a server under load: nobody who was let in goes without an answer.

uvicorn closes its socket at once, with the connections that the system accepted and it has not, and it closes each
connection that is idle at that moment, though a request may be on its way over it. So for a while the server goes on
as before, but every answer tells its client that the connection ends, and the client opens no other while the socket
still takes it.
"""

import asyncio
import socket
import time

import uvicorn

CLOSE = (b"connection", b"close")
QUIET_SECONDS = 0.3  # without a request, after which nobody is expected
MOST_SECONDS = 3.0  # for clients to learn that their connections end
STEP_SECONDS = 0.02


class StoppingServer(uvicorn.Server):
    """A server that ends without dropping a request."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer with "Connection: close" until nobody asks or the time is up, then close the socket, and then all."""
        state = self.server_state
        state.default_headers = [*state.default_headers, CLOSE]
        await self._until_quiet(MOST_SECONDS)
        for server in self.servers:
            server.close()
        await self._until_quiet(MOST_SECONDS)  # of the connections that the socket let in last
        await super().shutdown(sockets)

    async def _until_quiet(self, seconds: float) -> None:
        state, end = self.server_state, time.monotonic() + seconds
        quiet_since, count = time.monotonic(), state.total_requests
        while time.monotonic() < end and not self.force_exit:
            if not state.connections and not any(server.is_serving() for server in self.servers):
                return
            if state.total_requests != count or state.tasks:
                quiet_since, count = time.monotonic(), state.total_requests
            if time.monotonic() - quiet_since > QUIET_SECONDS:
                return
            await asyncio.sleep(STEP_SECONDS)
