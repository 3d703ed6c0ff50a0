"""Stage `logging`: one JSON line per call, with who, where, what came of it, and the ids that lead to the rest."""

import time
from datetime import UTC, datetime

from interceptors.call import CODE_NAMES, Call
from interceptors.stages import Stage
from services.kernel.telemetry import LineWriter


class AccessLog(Stage):
    """Writes the line when the call has ended. It names no field of the request, so it holds no secret."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def leave(self, call: Call) -> None:
        """Write the line."""
        self._writer.write(
            {
                "time": datetime.now(UTC),
                "level": "info",
                "event": "rpc",
                "method": call.policy.full_name,
                "code": CODE_NAMES[call.code],
                "reason": call.reason,
                "milliseconds": round((time.perf_counter() - call.started) * 1000, 3),
                "principal": call.principal.name,
                "workspace": call.workspace_id,
                "source": call.source,
                "request_id": call.request_id,
                "trace_id": call.trace_id,
            }
        )
