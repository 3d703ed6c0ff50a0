"""Stage `csrf`: what changes something by a cookie must come from a page of ours.

A browser adds the cookie to whatever any page makes it send. SameSite=Strict keeps it from pages of other sites, but
not from those of other hosts of the same site. So the browser's own word is asked for, which no page can forge: the
Origin, or the Fetch Metadata (OWASP Cross-Site Request Forgery Prevention, "Fetch Metadata headers").
"""

from urllib.parse import urlsplit

from interceptors.call import Call
from interceptors.policy import MethodPolicy
from interceptors.stages import Stage
from services.kernel.config import Settings
from services.kernel.errors import PermissionDenied

# The page is of the very host that it calls, or there is no page: somebody typed the address.
_OWN_SITE = frozenset({"same-origin", "none"})


class CsrfRefused(PermissionDenied):
    """A call by cookie does not say that a page of ours made it."""

    reason = "CSRF_REFUSED"

    def __init__(self) -> None:
        super().__init__("A browser that is signed in by cookie may change things from pages of this origin alone.")


class Csrf(Stage):
    """Looks at calls that a cookie speaks for, or that ask for one (else a foreign page could sign somebody in)."""

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(map(_origin_of, (settings.public_url, *settings.cors_origins)))

    def concerns(self, policy: MethodPolicy) -> bool:
        """Whether the method changes something: what is only read stays hidden from foreign pages."""
        return not policy.read_only

    def enter(self, call: Call) -> None:
        """Raises CsrfRefused."""
        if (call.by_cookie or _asks_for_cookie(call)) and not self._is_own_page(call):
            raise CsrfRefused

    def _is_own_page(self, call: Call) -> bool:
        return (
            call.metadata.get("origin", "").lower() in self._origins
            or call.metadata.get("sec-fetch-site", "") in _OWN_SITE
        )


def _asks_for_cookie(call: Call) -> bool:
    return call.policy.has_cookie and bool(getattr(call.request, "cookie"))  # noqa: B009  # a field of such a request


def _origin_of(url: str) -> str:
    """`https://app.example`, without a path (RFC 6454 §7)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
