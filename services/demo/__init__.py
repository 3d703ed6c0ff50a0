"""`plinth demo`: the story of the product, told against a mesh through its edge. Each domain adds a chapter."""

from pathlib import Path

from services.demo import documents, events, people_and_workspaces, projects
from services.demo.stage import Stage, Surprise
from services.kernel.config import load_settings
from services.kernel.migrations import migrate
from services.mesh.console import ConsoleReport
from services.mesh.supervisor import APP_LOGIN, Supervisor, running_postgres

CHAPTERS = (people_and_workspaces.tell, projects.tell, documents.tell, events.tell)


def run(*, ephemeral: bool, url: str, data_dir: Path) -> int:
    """Tell every chapter; 0 when all went as told, 1 on a surprise."""
    if not ephemeral:
        database_url = load_settings().database_url or running_postgres(data_dir).url(APP_LOGIN)
        return _tell(url, database_url, data_dir)

    with Supervisor.ephemeral(migrate, ConsoleReport()) as mesh:
        return _tell(mesh.edge_url, mesh.database_url, mesh.options.data_dir)


def _tell(url: str, database_url: str, data_dir: Path) -> int:
    with Stage(url, load_settings(database_url=database_url, data_dir=data_dir)) as stage:
        try:
            for chapter in CHAPTERS:
                chapter(stage)
        except Surprise as surprise:
            stage.fail(str(surprise))
            return 1
        stage.end()
    return 0
