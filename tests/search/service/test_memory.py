"""What a process keeps: as much as it may, of what was used last."""

import threading

from services.search.service.memory import Memory


class TestMemory:
    def test_drops_what_was_not_used_for_the_longest(self) -> None:
        memory: Memory[str, int] = Memory(5000)
        memory.put("a", 1, 1000)
        memory.put("b", 2, 1000)
        memory.put("c", 3, 1000)
        assert memory.get("a") == 1
        memory.put("d", 4, 1000)
        assert memory.get_all("abcd") == {"a": 1, "c": 3, "d": 4}

    def test_keeps_nothing_that_is_larger_than_all_of_it(self) -> None:
        memory: Memory[str, int] = Memory(2000)
        memory.put("a", 1, 100)
        memory.put("b", 2, 5000)
        assert memory.get_all("ab") == {}

    def test_counts_what_is_replaced_once(self) -> None:
        memory: Memory[str, int] = Memory(4000)
        for number in range(50):
            memory.put("a", number, 1000)
        memory.put("b", 0, 1000)
        assert memory.get_all("ab") == {"a": 49, "b": 0}

    def test_is_one_for_all_threads(self) -> None:
        memory: Memory[int, int] = Memory(20_000)

        def work(start: int) -> None:
            for number in range(start, start + 500):
                memory.put(number % 40, number % 40, 100)
                assert memory.get(number % 40) in (None, number % 40)

        threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(memory.get_all(range(40))) == 20_000 // 700
