"""A row of a workspace in every table of search, which only documents, workers and queries would fill."""

from typing import Any
from uuid import UUID

import psycopg

_STATEMENTS = r"""
    insert into search.indexes values (%(workspace)s, 'lsa', true, 1, 1, 1, 2, 2, 1, 1, 1, '{}', false, 0, 0, 0, 1,
        now(), now());
    insert into search.audiences values (%(workspace)s, 1, '{member}', '{}');
    insert into search.documents values (%(workspace)s, gen_random_uuid(), 0, 1, 1, 0, 'File', 'text/plain',
        'en', '{}', '{}', gen_random_uuid(), 1, now(), now());
    insert into search.staged_chunks values (%(workspace)s, gen_random_uuid(), 1, 0, gen_random_uuid(),
        'fox', '{}', 0, 0, 3, 'en', now());
    insert into search.chunks select workspace_id, 0, gen_random_uuid(), document_id, 0, 1, 'fox', '{}', 0,
        0, 3, 'en' from search.documents where workspace_id = %(workspace)s;
    insert into search.removed_chunks values (%(workspace)s, gen_random_uuid(), 1, 'fox', '{}', 'en', 0, 0);
    insert into search.recounts values (%(workspace)s, gen_random_uuid());
    insert into search.segments values (%(workspace)s, 1, 0, 0, 0, 1, 'live', '\x00000000');
    insert into search.staged_segments values (%(workspace)s, 1, gen_random_uuid(), 1, '{}', '{}', '{}', now());
    insert into search.postings values (%(workspace)s, 1, 'fox', '\x01');
    insert into search.tombstones values (%(workspace)s, 0);
    insert into search.vocabulary values (%(workspace)s, 'fox', 0, 1, 0);
    insert into search.early_changes values (%(workspace)s, gen_random_uuid(), now(), 1, true, '', '{}', '{}',
        false, '{}', '{}');
    insert into search.models (workspace_id, model_id, embedder, model, dimensions, state, fitted_chunks,
        next_chunk_no, end_chunk_no, approximate, vector_count, create_time, prune_time) values (%(workspace)s,
        gen_random_uuid(), 'lsa', 'lsa-1', 1, 'live', 1, 0, 0, false, 1, now(), now());
    insert into search.model_parts select workspace_id, model_id, 0, '\x00' from search.models where
        workspace_id = %(workspace)s;
    insert into search.vectors (workspace_id, model_id, doc_no, chunk_no, embedding) select workspace_id,
        model_id, 0, 0, '[1]' from search.models where workspace_id = %(workspace)s;
    insert into search.staged_vectors (workspace_id, model_id, document_id, chunk_id, embedding, stage_time)
        select workspace_id, model_id, gen_random_uuid(), gen_random_uuid(), '[1]', now() from search.models
        where workspace_id = %(workspace)s;
    insert into search.queries values (%(workspace)s, gen_random_uuid(), 'fox', 'lexical', '', '', 1, 1,
        gen_random_uuid(), now())
"""


def fill(database: "psycopg.Connection[Any]", workspace_id: UUID) -> None:
    """Put the rows there, as the database's owner."""
    for statement in _STATEMENTS.split(";"):
        database.execute(statement, {"workspace": workspace_id})
