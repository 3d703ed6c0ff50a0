"""What a server process does beside its calls: sends mail, and sweeps what is no longer kept.

Sweeps are no jobs of the worker: each process looks after its own domains, with the rights of its own login, and two
who sweep the same do no harm. So nothing piles up in a mesh whose worker is down. What may take hours, as it does to
delete files of documents and rows of search, a sweep hands to the workers.
"""

import threading
from collections.abc import Callable, Sequence

import structlog

from services.domains import Domain
from services.kernel import idempotency, mail
from services.kernel.mail import MailSender, SmtpTransport
from services.runtime import Runtime

_SWEEP_SECONDS = 600.0
_log = structlog.get_logger("plinth.background")


class Background:
    """Starts and stops the background work of one process."""

    def __init__(self, runtime: Runtime, domains: Sequence[Domain]) -> None:
        self._runtime = runtime
        self._domains = tuple(domains)
        self._stopping = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="plinth-sweeper", daemon=True)
        settings = runtime.settings
        smtp_url = settings.smtp_url.get_secret_value()
        self._sender = (
            MailSender(
                runtime.mailbox, SmtpTransport(smtp_url, settings.mail_from), runtime.kernel_session, runtime.clock
            )
            if smtp_url
            else None
        )

    def start(self) -> None:
        """Begin, on threads of their own."""
        self._sweeper.start()
        if self._sender is not None:
            self._sender.start()

    def stop(self) -> None:
        """Finish what is at hand, and end."""
        self._stopping.set()
        if self._sender is not None:
            self._sender.stop()
        self._sweeper.join()

    def _sweep(self) -> None:
        sweeps: list[Callable[[], None]] = [self._sweep_kernel, *(domain.sweep for domain in self._domains)]
        while not self._stopping.wait(_SWEEP_SECONDS):
            for sweep in sweeps:
                try:
                    sweep()
                except Exception:  # noqa: BLE001  # whatever one could not sweep, the others and the next round go on
                    _log.exception("not_swept", sweep=sweep.__qualname__)

    def _sweep_kernel(self) -> None:
        with self._runtime.kernel_session() as session:
            request_ids = idempotency.sweep(session, self._runtime.clock.now())
            mails = mail.sweep(session, self._runtime.clock.now())
            session.commit()
        _log.info("swept", request_ids=request_ids, mails=mails)
