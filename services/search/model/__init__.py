"""The rules of search: words, postings, ranking, fusion and snippets. Pure Python and numpy."""
