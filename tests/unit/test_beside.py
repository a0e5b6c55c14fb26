"""Is work that was handed over done once, and are its errors heard?"""

import hashlib
import os
import threading

import pytest

from storage.beside import WORTH_IT, Beside


def test_digests_of_many_threads_are_right():
    beside = Beside()
    wrong = []

    def work():
        for _ in range(20):
            data = os.urandom(WORTH_IT)
            sha = hashlib.sha256()
            wait = beside.begin(sha.update, data)
            wait()
            wait()
            if sha.digest() != hashlib.sha256(data).digest():
                wrong.append(data)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("size", [1, WORTH_IT])
def test_an_error_is_heard_and_the_thread_goes_on(size):
    beside = Beside()

    def fails(_):
        raise ValueError("broken")

    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            beside.begin(fails, bytes(size))()
    seen = []
    beside.begin(seen.append, bytes(size))()
    assert seen == [bytes(size)]


def test_who_finds_it_busy_works_by_himself():
    beside = Beside()
    go, names = threading.Event(), []
    slow = beside.begin(lambda _: go.wait(10), bytes(WORTH_IT))
    beside.begin(lambda _: names.append(threading.current_thread()), bytes(WORTH_IT))()
    assert names == [threading.current_thread()]
    go.set()
    slow()
