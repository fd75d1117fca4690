"""Work that other threads do ahead: in order, and not too far."""

import threading

import pytest

from plainnet.tables.ahead import ahead


def test_results_come_in_order_and_are_made_by_other_threads():
    made_by = set()

    def work(item):
        made_by.add(threading.current_thread())
        return item * item

    assert list(ahead(work, range(50), threads=3)) == [item * item for item in range(50)]
    assert threading.current_thread() not in made_by


def test_no_more_are_begun_than_there_are_threads():
    begun = []
    results = ahead(begun.append, range(50), threads=3)
    for number in range(40):
        next(results)
        assert len(begun) <= number + 4
    results.close()
    assert len(begun) < 50


def test_what_goes_wrong_is_raised_in_its_place():
    results = ahead(lambda item: 1 / item, [1, 2, 0, 4])
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)
