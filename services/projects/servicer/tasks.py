"""The gRPC adapter of tasks: convert, call, convert."""

from typing import Any

from plinth.projects.v1 import task_service_pb2 as pb
from plinth.projects.v1 import task_service_pb2_grpc
from services.projects.convert import tasks as convert
from services.projects.convert.approvals import approval_to_proto
from services.projects.convert.items import available_to_proto
from services.projects.convert.projects import project_in
from services.projects.service.tasks import TaskService

# The context is grpc.ServicerContext; no method here uses it.
Context = Any


class TaskServicer(task_service_pb2_grpc.TaskServiceServicer):
    """TaskService."""

    def __init__(self, service: TaskService) -> None:
        self._service = service

    def CreateTask(self, request: pb.CreateTaskRequest, context: Context) -> pb.CreateTaskResponse:
        workspace_id, project_id = project_in(request.parent, field="parent")
        task = self._service.create(workspace_id, project_id, convert.new_task_from_proto(workspace_id, request.task))
        return pb.CreateTaskResponse(task=convert.task_to_proto(task))

    def GetTask(self, request: pb.GetTaskRequest, context: Context) -> pb.GetTaskResponse:
        task = self._service.get(*convert.task_in(request.name))
        return pb.GetTaskResponse(task=convert.task_to_proto(task))

    def ListTasks(self, request: pb.ListTasksRequest, context: Context) -> pb.ListTasksResponse:
        found, next_token = self._service.list_tasks(
            *project_in(request.parent, field="parent"),
            request.page_size,
            request.page_token,
            request.filter,
            request.order_by,
        )
        return pb.ListTasksResponse(tasks=map(convert.task_to_proto, found), next_page_token=next_token)

    def UpdateTask(self, request: pb.UpdateTaskRequest, context: Context) -> pb.UpdateTaskResponse:
        wanted = request.task
        workspace_id, project_id, task_id = convert.task_in(wanted.name)
        patch = convert.task_patch_from_proto(workspace_id, wanted, request.update_mask)
        task = self._service.update(workspace_id, project_id, task_id, wanted.etag, patch)
        return pb.UpdateTaskResponse(task=convert.task_to_proto(task))

    def DeleteTask(self, request: pb.DeleteTaskRequest, context: Context) -> pb.DeleteTaskResponse:
        self._service.delete(*convert.task_in(request.name), request.etag)
        return pb.DeleteTaskResponse()

    def MoveTask(self, request: pb.MoveTaskRequest, context: Context) -> pb.MoveTaskResponse:
        after_id = convert.sibling_in(request.after, request.name, field="after")
        task = self._service.move(*convert.task_in(request.name), after_id, request.etag)
        return pb.MoveTaskResponse(task=convert.task_to_proto(task))

    def TransitionTask(self, request: pb.TransitionTaskRequest, context: Context) -> pb.TransitionTaskResponse:
        task, approval = self._service.transition(
            *convert.task_in(request.name), request.to_state, request.etag, request.comment
        )
        return pb.TransitionTaskResponse(task=convert.task_to_proto(task), approval=approval_to_proto(approval))

    def ListAvailableTaskTransitions(
        self, request: pb.ListAvailableTaskTransitionsRequest, context: Context
    ) -> pb.ListAvailableTaskTransitionsResponse:
        found = self._service.available(*convert.task_in(request.name))
        return pb.ListAvailableTaskTransitionsResponse(
            transitions=[available_to_proto(one, pending) for one, pending in found]
        )
