"""Connections that do not wait for ever: clients send what they have begun, and read, in time."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 15.0
"""From a connection, or the first byte of a request on it, to the end of its headers."""

READING_SECONDS, BYTES_PER_SECOND = 30.0, 4096
"""How often it is looked whether an answer is read, and the least of it that has to be."""


class TimedProtocol(H11Protocol):
    """Closes a connection on which no request begins in time, none ends its headers, or no answer
    is read.

    uvicorn itself only limits how long a connection may idle after an answer.
    """

    _deadline: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first request is waited for."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # `pause_writing` tells of all that is not read
        self._wait()

    def pause_writing(self) -> None:
        """The client does not read as fast as there is something for it."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """The client has read all there was."""
        super().resume_writing()
        self._stop_reading()

    def data_received(self, data: bytes) -> None:
        """What has arrived is read; where it is no whole header, the rest is waited for."""
        super().data_received(data)
        if self._is_answering:
            self._stop_waiting()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_waiting()
        self._stop_reading()
        super().connection_lost(exc)

    @property
    def _is_answering(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self._is_answering and not self.transport.is_closing():
            self.transport.close()

    def _watch_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(READING_SECONDS, self._look_at_reading, unread)

    def _look_at_reading(self, before: int) -> None:
        least = READING_SECONDS * BYTES_PER_SECOND
        if before - self.transport.get_write_buffer_size() >= least:
            self._watch_reading()
        else:
            self.transport.abort()  # closing it would wait for the client

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
