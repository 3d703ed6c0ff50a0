"""What a process keeps: as much as it may, of what was used last."""

import threading

from services.search.service.cache import LruCache


class TestLruCache:
    def test_drops_what_was_not_used_for_the_longest(self) -> None:
        cache: LruCache[str, int] = LruCache(5000)
        cache.put("a", 1, 1000)
        cache.put("b", 2, 1000)
        cache.put("c", 3, 1000)
        assert cache.get("a") == 1
        cache.put("d", 4, 1000)
        assert cache.get_all("abcd") == {"a": 1, "c": 3, "d": 4}

    def test_keeps_nothing_that_is_larger_than_all_of_it(self) -> None:
        cache: LruCache[str, int] = LruCache(2000)
        cache.put("a", 1, 100)
        cache.put("b", 2, 5000)
        assert cache.get_all("ab") == {}

    def test_counts_what_is_replaced_once(self) -> None:
        cache: LruCache[str, int] = LruCache(4000)
        for number in range(50):
            cache.put("a", number, 1000)
        cache.put("b", 0, 1000)
        assert cache.get_all("ab") == {"a": 49, "b": 0}

    def test_is_one_for_all_threads(self) -> None:
        cache: LruCache[int, int] = LruCache(20_000)

        def work(start: int) -> None:
            for number in range(start, start + 500):
                cache.put(number % 40, number % 40, 100)
                assert cache.get(number % 40) in (None, number % 40)

        threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(cache.get_all(range(40))) == 20_000 // 700
