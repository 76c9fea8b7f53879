"""Which candidates go together, and whose turn it is."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from visreward.serving.batching import FairQueue, Job, Part


def job(
    client: str = "a", *, work: tuple[int, ...] = (10,), group: str = "", shared: int = 0
) -> Job[str]:
    names = tuple(f"{client}{number}" for number in range(len(work)))
    return Job(client=client, group=group, items=names, item_work=work, shared_work=shared)


def queue_of(*jobs: Job[str]) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for each in jobs:
        queue.push(each)
    return queue


def names(parts: list[Part[str]]) -> list[str]:
    return [name for part in parts for name in part.job.items[part.start : part.stop]]


def test_take_empty_queue_is_empty() -> None:
    assert queue_of().take(100) == []


def test_take_stops_before_the_job_that_does_not_fit() -> None:
    queue = queue_of(job(work=(40,)), job("b", work=(40,)), job("c", work=(40,)))
    assert names(queue.take(100)) == ["a0", "b0"]
    assert names(queue.take(100)) == ["c0"]


def test_take_single_candidate_beyond_the_budget_goes_alone() -> None:
    queue = queue_of(job(work=(500, 500)))
    assert names(queue.take(100)) == ["a0"]
    assert names(queue.take(100)) == ["a1"]
    assert queue.take(100) == []


def test_take_job_larger_than_a_batch_is_split_in_order() -> None:
    queue = queue_of(job(work=(30, 30, 30, 30, 30)))
    assert [names(queue.take(100)) for _ in range(2)] == [["a0", "a1", "a2"], ["a3", "a4"]]


def test_take_candidates_of_one_source_come_together_and_pay_it_once() -> None:
    queue = queue_of(
        job("a", group="s", work=(10,), shared=50),
        job("b", group="t", work=(10,), shared=50),
        job("c", group="s", work=(10,), shared=50),
    )
    assert names(queue.take(75)) == ["a0", "c0"]
    assert names(queue.take(75)) == ["b0"]


def test_take_small_client_does_not_wait_for_a_flood() -> None:
    flood = [job("flood", work=(10,) * 8) for _ in range(20)]
    queue = queue_of(*flood)
    queue.take(80)
    queue.push(job("small", work=(10,)))
    assert "small0" in names(queue.take(90))


def test_take_clients_of_equal_size_share_the_model_evenly() -> None:
    jobs = [job(client, work=(10,)) for client in ("a", "b") for _ in range(50)]
    queue = queue_of(*jobs)
    taken = Counter(name[0] for _ in range(10) for name in names(queue.take(40)))
    assert taken == {"a": 20, "b": 20}


def test_take_clients_are_charged_by_work_not_by_number() -> None:
    jobs = [job("large", work=(40,)) for _ in range(20)]
    jobs += [job("small", work=(10,)) for _ in range(80)]
    queue = queue_of(*jobs)
    taken = Counter(part.job.client for _ in range(10) for part in queue.take(80))
    assert taken["small"] == 4 * taken["large"]


def test_take_client_that_waited_gets_no_credit_for_it() -> None:
    queue = queue_of(*(job("busy", work=(10,)) for _ in range(100)))
    for _ in range(5):
        queue.take(100)
    for _ in range(50):
        queue.push(job("late", work=(10,)))
    taken = Counter(part.job.client for part in queue.take(200))
    assert taken["busy"] >= 9


def test_remove_job_takes_what_is_left_of_it_out() -> None:
    split, alive, unknown = job("a", work=(60, 60)), job("b"), job("c")
    queue = queue_of(split, alive)
    assert names(queue.take(60)) == ["a0"]
    for each in (split, unknown, split):
        queue.remove(each)
    assert queue.work == 10
    assert names(queue.take(100)) == ["b0"]
    assert list(queue.jobs()) == []


def test_clear_returns_every_job() -> None:
    jobs = [job("a"), job("b"), job("a")]
    queue = queue_of(*jobs)
    assert set(queue.clear()) == set(jobs)
    assert queue.work == 0
    assert queue.take(100) == []


job_lists = st.lists(
    st.builds(
        job,
        st.sampled_from("abc"),
        work=st.lists(st.integers(1, 200), min_size=1, max_size=6).map(tuple),
        group=st.sampled_from(["", "s", "t"]),
        shared=st.integers(0, 150),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(job_lists, st.integers(1, 250))
def test_take_every_candidate_leaves_once_and_batches_keep_their_budget(
    jobs: list[Job[str]], max_work: int
) -> None:
    queue = queue_of(*jobs)
    taken: Counter[tuple[int, int]] = Counter()
    assert queue.work == sum(sum(each.item_work) for each in jobs)
    while parts := queue.take(max_work):
        assert queue.work == sum(each.work_left for each in queue.jobs())
        items = [(id(p.job), n) for p in parts for n in range(p.start, p.stop)]
        taken.update(items)
        shared = {p.job.group or str(id(p.job)): p.job.shared_work for p in parts}
        work = sum(sum(p.job.item_work[p.start : p.stop]) for p in parts)
        groups = [p.job.group for p in parts if p.job.group]
        # Hypothesis gives jobs of one group different shared works; the first one counts.
        if len(items) > 1 and len(set(groups)) == len(groups):
            assert work + sum(shared.values()) <= max_work
    assert taken == {(id(j), n): 1 for j in jobs for n in range(len(j.items))}
