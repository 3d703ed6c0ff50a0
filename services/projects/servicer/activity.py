"""The gRPC adapter of activity: convert, call, convert. Its streams are in `watch.py`."""

from typing import Any

from plinth.projects.v1 import activity_service_pb2 as pb
from plinth.projects.v1 import activity_service_pb2_grpc
from services.projects.convert import activity as convert
from services.projects.service.activity import ActivityService

# The context is grpc.ServicerContext; no method here uses it.
Context = Any


class ActivityServicer(activity_service_pb2_grpc.ActivityServiceServicer):
    """ActivityService, but for its streams."""

    def __init__(self, service: ActivityService) -> None:
        self._service = service

    def ListActivity(self, request: pb.ListActivityRequest, context: Context) -> pb.ListActivityResponse:
        found, next_token = self._service.list_activity(
            *convert.parent_in(request.parent), request.page_size, request.page_token, request.filter
        )
        return pb.ListActivityResponse(activities=map(convert.activity_to_proto, found), next_page_token=next_token)
