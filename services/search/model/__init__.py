"""The rules of search: words, postings, ranking, fusion, snippets, and how good all of it is. Pure Python and numpy."""
