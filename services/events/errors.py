"""The errors of events. Resources are given by name, as the client knows them."""

from services.kernel.errors import AlreadyExists, FailedPrecondition, FieldViolation, InvalidArgument, NotFound


class WebhookUrlRefused(InvalidArgument):
    """A webhook may not go to this URL; `problem` says why."""

    reason = "WEBHOOK_URL_REFUSED"

    def __init__(self, problem: str) -> None:
        violation = FieldViolation("webhook_endpoint.url", problem)
        super().__init__("Webhooks may not go to this URL.", violations=[violation], problem=problem)


class WebhookEndpointLimitReached(FailedPrecondition):
    """The workspace has as many webhook endpoints as it may."""

    reason = "WEBHOOK_ENDPOINT_LIMIT_REACHED"

    def __init__(self, limit: int) -> None:
        super().__init__("The workspace has as many webhook endpoints as it may.", limit=str(limit))


class WebhookEndpointDisabled(FailedPrecondition):
    """Nothing is sent to the endpoint."""

    reason = "WEBHOOK_ENDPOINT_DISABLED"

    def __init__(self, webhook_endpoint: str) -> None:
        super().__init__("The webhook endpoint is disabled: enable it first.", webhook_endpoint=webhook_endpoint)


class WebhookSecretLimitReached(FailedPrecondition):
    """Too many former secrets still sign."""

    reason = "WEBHOOK_SECRET_LIMIT_REACHED"

    def __init__(self, limit: int) -> None:
        super().__init__("Too many former secrets still sign: rotate with an overlap of zero.", limit=str(limit))


class DeliveryPayloadExpired(FailedPrecondition):
    """The body of the delivery is no longer kept."""

    reason = "DELIVERY_PAYLOAD_EXPIRED"

    def __init__(self, delivery: str) -> None:
        super().__init__("The body is no longer kept: replay the event instead.", delivery=delivery)


class SubscriberUnknown(NotFound):
    """No worker has ever run a subscriber of this name, so there is nothing that it could have missed."""

    reason = "NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__("No worker has ever run a subscriber of this name.", resource=name)


class JobStateConflict(FailedPrecondition):
    """What is asked does not fit where the job stands."""

    reason = "JOB_STATE_CONFLICT"

    def __init__(self, job: str, state: str) -> None:
        super().__init__("The job is not in a state for this.", job=job, state=f"STATE_{state.upper()}")


class JobUniqueKeyTaken(AlreadyExists):
    """Another job with the same unique key waits or runs."""

    reason = "JOB_UNIQUE_KEY_TAKEN"

    def __init__(self, job: str) -> None:
        super().__init__("Another job with its unique key waits or runs.", job=job)
