"""Watches: kopf in a thread and an event loop of its own, which tells what changed and decides nothing.

kopf is used for list-and-watch alone: its handlers hand the event to `sink` in our loop. It is no informer: after a
relist every object comes again with type None, a deletion may never be told, and an object that lost the label comes as
DELETED. So an event only says where to look, and the runtime's sweep finds what was missed. kopf ends by itself for
several reasons (API server away, rights missing for a minute); here it is started again.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import aiohttp
import kopf

from headrace.kube.credentials import Credentials
from headrace.kube.resources import Object, Resource

CONNECT_SECONDS = 5
REQUEST_SECONDS = 30
RESTART_SECONDS = 5.0
# How long kopf has to end once told to, and again once cancelled.
STOP_SECONDS = 2.0
# How often it is asked whether a watched kind has appeared.
LOOK_SECONDS = 30.0
# A long list: kopf ends after the last one.
ERROR_BACKOFFS = [1, 1, 2, 3, *[5] * 20]
# A connection that died in silence is noticed by the kernel after 10 + 2 * 5 seconds.
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2}
# kopf strips the finalizer it believes its own from whatever it watches: it must be one that nobody sets.
UNUSED_FINALIZER = "headrace.dev/unused-by-kopf"
USER_AGENT = "headrace-watch"

log = logging.getLogger(__name__)


class Watch(NamedTuple):
    """A kind to watch, and the label selector that the API server filters by (None: all objects)."""

    resource: Resource
    labels: str | None = None


Sink = Callable[[Resource, str | None, Object], None]


class Shell:
    """Runs until cancelled. `sink(resource, event type, object)` is called in the loop that `run` runs in."""

    def __init__(
        self,
        credentials: Credentials,
        watches: Sequence[Watch],
        sink: Sink,
        *,
        namespaces: Sequence[str] = (),
        restart_seconds: float = RESTART_SECONDS,
    ) -> None:
        kinds = [watch.resource for watch in watches]
        if len(set(kinds)) != len(kinds):
            raise ValueError("each kind can be watched once: join its label selectors")
        self._credentials = credentials
        self._watches = tuple(watches)
        self._sink = sink
        self._namespaces = tuple(namespaces)
        self._restart = restart_seconds
        self.starts = 0
        # A line a handler call otherwise, and some at each start.
        logging.getLogger("kopf").setLevel(logging.WARNING)

    async def run(self) -> None:
        while True:
            self.starts += 1
            await self._run_once()
            await asyncio.sleep(self._restart)

    async def _run_once(self) -> None:
        loop = asyncio.get_running_loop()
        stop, ended = threading.Event(), asyncio.Event()
        cancels: list[Callable[[], object]] = []

        def hand_over(resource: Resource, event_type: str | None, obj: Object) -> None:
            if not stop.is_set():
                loop.call_soon_threadsafe(self._sink, resource, event_type, obj)

        def body() -> None:
            try:
                asyncio.run(self._operate(hand_over, stop, cancels.append))
            except asyncio.CancelledError:
                log.debug("the watches did not end when told to and were cancelled")
            except Exception:  # of kopf or of the network: they are begun anew
                log.exception("the watches failed")
            finally:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(ended.set)

        served = await self._served()
        thread = threading.Thread(target=body, name="kopf", daemon=True)
        thread.start()
        waits = {asyncio.create_task(ended.wait()), asyncio.create_task(self._until_a_kind_appears(served))}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            why = "ended by themselves" if ended.is_set() else "do not know a kind that has appeared"
            log.warning("the watches %s: starting them again in %g s", why, self._restart)
        finally:
            for task in waits:
                task.cancel()
            stop.set()
            await asyncio.shield(asyncio.to_thread(_end, thread, cancels))

    async def _until_a_kind_appears(self, before: frozenset[Resource]) -> None:
        """Return when a watched kind is served that was not in `before`.

        An API server that is just starting does not list every kind yet, and kopf takes what it finds then for all
        there is: the kind would stay unwatched.
        """
        while (await self._served()) <= before:
            await asyncio.sleep(LOOK_SECONDS)

    async def _served(self) -> frozenset[Resource]:
        """The watched kinds that the API server serves; none while it does not answer."""
        found: set[Resource] = set()
        timeout = aiohttp.ClientTimeout(total=CONNECT_SECONDS)
        async with await self._session(timeout) as http:
            for group_version in {(watch.resource.group, watch.resource.version) for watch in self._watches}:
                group, version = group_version
                path = f"/apis/{group}/{version}" if group else f"/api/{version}"
                try:
                    async with http.get(self._credentials.endpoint.server + path) as answer:
                        names = {entry["name"] for entry in (await answer.json()).get("resources", ())}
                except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                    log.debug("discovery of %s: %s", path, error)
                    continue
                found |= {
                    watch.resource
                    for watch in self._watches
                    if (watch.resource.group, watch.resource.version) == group_version
                    and watch.resource.plural in names
                }
        return frozenset(found)

    async def _operate(
        self, hand_over: Sink, stop: threading.Event, on_cancel: Callable[[Callable[[], object]], None]
    ) -> None:
        """`on_cancel` gets what another thread calls to cancel this."""
        loop, task = asyncio.get_running_loop(), cast("asyncio.Task[None]", asyncio.current_task())
        on_cancel(lambda: loop.call_soon_threadsafe(task.cancel))
        try:
            await kopf.operator(
                registry=self._registry(hand_over),
                settings=self._settings(),
                # Else kopf asks for the user's name, and a container's user has none.
                identity=cast(Any, USER_AGENT),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=stop,
            )
        finally:
            # kopf waits for the flag in a thread of the loop's pool: unless it is set, this loop never closes.
            stop.set()

    def _registry(self, hand_over: Sink) -> kopf.OperatorRegistry:
        # Not the default registry: that one brings login handlers of its own.
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for watch in self._watches:
            resource = watch.resource
            # Without a version: when the one named here is no longer served, kopf would go silent.
            kopf.on.event(group=resource.group, plural=resource.plural, id=resource.plural, registry=registry)(
                _handler(resource, hand_over)
            )
        return registry

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        session = await self._session(aiohttp.client.DEFAULT_TIMEOUT)
        return kopf.AiohttpSession(server=self._credentials.endpoint.server, aiohttp_session=session)

    async def _session(self, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._credentials.ssl_context(), socket_factory=_socket)
        headers = {"User-Agent": USER_AGENT} | await self._credentials.headers()
        return aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout)

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.peering.standalone = True
        settings.persistence.finalizer = UNUSED_FINALIZER
        # The default kills the whole process some minutes after a stop.
        settings.process.ultimate_exiting_timeout = None
        settings.networking.connect_timeout = CONNECT_SECONDS
        settings.networking.request_timeout = REQUEST_SECONDS
        settings.networking.error_backoffs = ERROR_BACKOFFS
        # A worker an object stays for this long: memory.
        settings.queueing.idle_timeout = 0.2
        for resource, labels in self._watches:
            if labels is not None:
                settings.watching.label_selectors[resource.group, resource.plural] = labels
        return settings


def _handler(resource: Resource, hand_over: Sink) -> Callable[..., Any]:
    async def handle(event: Any, **_: Any) -> None:
        # Returns None: kopf writes any other result into the object's status.
        hand_over(resource, event["type"], event["object"])

    return handle


def _end(thread: threading.Thread, cancels: Sequence[Callable[[], object]]) -> None:
    """Wait for a thread that was told to stop, and cancel what it runs where it goes on.

    Told to stop, kopf leaves requests that wait to be repeated alone for five seconds.
    """
    thread.join(STOP_SECONDS)
    if thread.is_alive():
        for cancel in cancels:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has just ended
                cancel()
        thread.join(STOP_SECONDS)
    if thread.is_alive():
        log.warning("the watches' thread does not end")


def _socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    for option, value in KEEPALIVE.items():
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock
