"""The gRPC adapters of events: convert, call, convert."""

from typing import Any
from uuid import UUID

from plinth.events.v1 import (
    event_service_pb2,
    event_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    webhook_service_pb2,
    webhook_service_pb2_grpc,
)
from services.events import convert
from services.events.service import EventService, JobService, WebhookService
from services.kernel.wire import optional_time

# The context is grpc.ServicerContext; no method here uses it.
Context = Any


class EventServicer(event_service_pb2_grpc.EventServiceServicer):
    """EventService; its streams live on the streams process."""

    def __init__(self, service: EventService) -> None:
        self._service = service

    def ListEvents(
        self, request: event_service_pb2.ListEventsRequest, context: Context
    ) -> event_service_pb2.ListEventsResponse:
        found, next_token = self._service.list_events(
            convert.workspace_in(request.parent),
            convert.event_filter_from_proto(request),
            request.page_size,
            request.page_token,
        )
        return event_service_pb2.ListEventsResponse(
            events=map(convert.event_to_proto, found), next_page_token=next_token
        )

    def GetEvent(
        self, request: event_service_pb2.GetEventRequest, context: Context
    ) -> event_service_pb2.GetEventResponse:
        event = self._service.get(*convert.event_in(request.name))
        return event_service_pb2.GetEventResponse(event=convert.event_to_proto(event))

    def ReplayEvents(
        self, request: event_service_pb2.ReplayEventsRequest, context: Context
    ) -> event_service_pb2.ReplayEventsResponse:
        job = self._service.replay(
            convert.workspace_in(request.parent),
            convert.since_from_proto(request),
            optional_time(request, "until"),
            tuple(request.types),
            request.target,
        )
        return event_service_pb2.ReplayEventsResponse(job=job)


class WebhookServicer(webhook_service_pb2_grpc.WebhookServiceServicer):
    """WebhookService."""

    def __init__(self, service: WebhookService) -> None:
        self._service = service

    def CreateWebhookEndpoint(
        self, request: webhook_service_pb2.CreateWebhookEndpointRequest, context: Context
    ) -> webhook_service_pb2.CreateWebhookEndpointResponse:
        settings = convert.endpoint_settings_from_proto(request.webhook_endpoint)
        made = self._service.create(convert.workspace_in(request.parent), settings)
        return webhook_service_pb2.CreateWebhookEndpointResponse(
            webhook_endpoint=convert.endpoint_to_proto(made.view), secret=made.secret
        )

    def GetWebhookEndpoint(
        self, request: webhook_service_pb2.GetWebhookEndpointRequest, context: Context
    ) -> webhook_service_pb2.GetWebhookEndpointResponse:
        view = self._service.get(*convert.endpoint_in(request.name))
        return webhook_service_pb2.GetWebhookEndpointResponse(webhook_endpoint=convert.endpoint_to_proto(view))

    def ListWebhookEndpoints(
        self, request: webhook_service_pb2.ListWebhookEndpointsRequest, context: Context
    ) -> webhook_service_pb2.ListWebhookEndpointsResponse:
        found, next_token = self._service.list_endpoints(
            convert.workspace_in(request.parent), request.page_size, request.page_token
        )
        return webhook_service_pb2.ListWebhookEndpointsResponse(
            webhook_endpoints=map(convert.endpoint_to_proto, found), next_page_token=next_token
        )

    def UpdateWebhookEndpoint(
        self, request: webhook_service_pb2.UpdateWebhookEndpointRequest, context: Context
    ) -> webhook_service_pb2.UpdateWebhookEndpointResponse:
        wanted = request.webhook_endpoint
        patch = convert.endpoint_patch_from_proto(wanted, request.update_mask)
        view = self._service.update(*convert.endpoint_in(wanted.name), wanted.etag, patch)
        return webhook_service_pb2.UpdateWebhookEndpointResponse(webhook_endpoint=convert.endpoint_to_proto(view))

    def DeleteWebhookEndpoint(
        self, request: webhook_service_pb2.DeleteWebhookEndpointRequest, context: Context
    ) -> webhook_service_pb2.DeleteWebhookEndpointResponse:
        self._service.delete(*convert.endpoint_in(request.name), request.etag)
        return webhook_service_pb2.DeleteWebhookEndpointResponse()

    def RotateSecret(
        self, request: webhook_service_pb2.RotateSecretRequest, context: Context
    ) -> webhook_service_pb2.RotateSecretResponse:
        made = self._service.rotate(*convert.endpoint_in(request.name), convert.overlap_from_proto(request))
        return webhook_service_pb2.RotateSecretResponse(
            webhook_endpoint=convert.endpoint_to_proto(made.view), secret=made.secret
        )

    def TestEndpoint(
        self, request: webhook_service_pb2.TestEndpointRequest, context: Context
    ) -> webhook_service_pb2.TestEndpointResponse:
        delivery = self._service.test(*convert.endpoint_in(request.name))
        return webhook_service_pb2.TestEndpointResponse(delivery=convert.delivery_to_proto(delivery))

    def EnableEndpoint(
        self, request: webhook_service_pb2.EnableEndpointRequest, context: Context
    ) -> webhook_service_pb2.EnableEndpointResponse:
        view = self._service.enable(*convert.endpoint_in(request.name))
        return webhook_service_pb2.EnableEndpointResponse(webhook_endpoint=convert.endpoint_to_proto(view))

    def DisableEndpoint(
        self, request: webhook_service_pb2.DisableEndpointRequest, context: Context
    ) -> webhook_service_pb2.DisableEndpointResponse:
        view = self._service.disable(*convert.endpoint_in(request.name))
        return webhook_service_pb2.DisableEndpointResponse(webhook_endpoint=convert.endpoint_to_proto(view))

    def RecoverEndpoint(
        self, request: webhook_service_pb2.RecoverEndpointRequest, context: Context
    ) -> webhook_service_pb2.RecoverEndpointResponse:
        job = self._service.recover(*convert.endpoint_in(request.name), convert.since_from_proto(request))
        return webhook_service_pb2.RecoverEndpointResponse(job=job)

    def ListDeliveries(
        self, request: webhook_service_pb2.ListDeliveriesRequest, context: Context
    ) -> webhook_service_pb2.ListDeliveriesResponse:
        found, next_token = self._service.list_deliveries(
            *convert.endpoint_in(request.parent, field="parent"),
            convert.delivery_state_from_proto(request.state),
            UUID(request.event_id) if request.event_id else None,
            request.page_size,
            request.page_token,
        )
        return webhook_service_pb2.ListDeliveriesResponse(
            deliveries=[convert.delivery_to_proto(view.delivery, view.attempts) for view in found],
            next_page_token=next_token,
        )

    def GetDelivery(
        self, request: webhook_service_pb2.GetDeliveryRequest, context: Context
    ) -> webhook_service_pb2.GetDeliveryResponse:
        view = self._service.get_delivery(*convert.delivery_in(request.name))
        return webhook_service_pb2.GetDeliveryResponse(delivery=convert.delivery_to_proto(view.delivery, view.attempts))

    def RetryDelivery(
        self, request: webhook_service_pb2.RetryDeliveryRequest, context: Context
    ) -> webhook_service_pb2.RetryDeliveryResponse:
        delivery = self._service.retry(*convert.delivery_in(request.name))
        return webhook_service_pb2.RetryDeliveryResponse(delivery=convert.delivery_to_proto(delivery))


class JobServicer(job_service_pb2_grpc.JobServiceServicer):
    """JobService."""

    def __init__(self, service: JobService) -> None:
        self._service = service

    def ListJobs(self, request: job_service_pb2.ListJobsRequest, context: Context) -> job_service_pb2.ListJobsResponse:
        found, next_token = self._service.list_jobs(
            convert.workspace_in(request.parent),
            convert.job_filter_from_proto(request, request.state),
            request.page_size,
            request.page_token,
        )
        return job_service_pb2.ListJobsResponse(jobs=map(convert.job_to_proto, found), next_page_token=next_token)

    def GetJob(self, request: job_service_pb2.GetJobRequest, context: Context) -> job_service_pb2.GetJobResponse:
        job = self._service.get(*convert.job_in(request.name))
        return job_service_pb2.GetJobResponse(job=convert.job_to_proto(job))

    def ListDeadJobs(
        self, request: job_service_pb2.ListDeadJobsRequest, context: Context
    ) -> job_service_pb2.ListDeadJobsResponse:
        found, next_token = self._service.list_dead(
            convert.workspace_in(request.parent),
            convert.job_filter_from_proto(request),
            request.page_size,
            request.page_token,
        )
        return job_service_pb2.ListDeadJobsResponse(jobs=map(convert.job_to_proto, found), next_page_token=next_token)

    def RequeueJob(
        self, request: job_service_pb2.RequeueJobRequest, context: Context
    ) -> job_service_pb2.RequeueJobResponse:
        job = self._service.requeue(*convert.job_in(request.name))
        return job_service_pb2.RequeueJobResponse(job=convert.job_to_proto(job))

    def RequeueJobs(
        self, request: job_service_pb2.RequeueJobsRequest, context: Context
    ) -> job_service_pb2.RequeueJobsResponse:
        count, more = self._service.requeue_many(
            convert.workspace_in(request.parent),
            [convert.job_in(name, field="names") for name in request.names],
            optional_time(request, "since"),
        )
        return job_service_pb2.RequeueJobsResponse(requeued_count=count, more=more)

    def DiscardJob(
        self, request: job_service_pb2.DiscardJobRequest, context: Context
    ) -> job_service_pb2.DiscardJobResponse:
        job = self._service.discard(*convert.job_in(request.name))
        return job_service_pb2.DiscardJobResponse(job=convert.job_to_proto(job))

    def CancelJob(
        self, request: job_service_pb2.CancelJobRequest, context: Context
    ) -> job_service_pb2.CancelJobResponse:
        job = self._service.cancel(*convert.job_in(request.name))
        return job_service_pb2.CancelJobResponse(job=convert.job_to_proto(job))
