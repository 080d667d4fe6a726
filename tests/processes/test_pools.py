"""Processes that are spawned, forked, or forked by a server: factories of their own, and what they tell each other."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import jobs
import pytest

from understudy import Finish, LLMFactory, LLMResponse, Policy, errors
from understudy_sandbox import faults

METHODS = [name for name in ("spawn", "forkserver", "fork") if name in multiprocessing.get_all_start_methods()]
LANES = pytest.mark.parametrize("lane", ["sdk", "http"])
WORKERS, CALLS = 3, 24
POLICY = Policy.patient(max_retries=0, deadline=60)

pytestmark = [
    pytest.mark.parametrize("method", METHODS),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # Python 3.12, of forks
]


def pool(method, sandbox, lane, policy=POLICY):
    settings = {**sandbox.environment(), "OPENAI_TRANSPORT": lane}
    context = multiprocessing.get_context(method)
    made_with = ("openai", settings, policy)
    return ProcessPoolExecutor(WORKERS, mp_context=context, initializer=jobs.make_factory, initargs=made_with)


@LANES
def test_a_pool_answers_from_a_factory_in_each_worker(lane, method, sandbox):
    settings = {**sandbox.environment(), "OPENAI_TRANSPORT": lane}
    words = [f"question {number}" for number in range(CALLS)]
    with LLMFactory("openai", [], settings=settings, policy=POLICY, extensions=[]) as factory:
        assert factory.generate_content("before the pool", temperature=None).success
        with pool(method, sandbox, lane) as workers:
            whole, streamed = workers.map(jobs.ask, words), workers.map(jobs.stream, words)
            answers = [(asked, response) for asked, (_, response) in zip(words, whole, strict=True)]
            ends = [(asked, events[-1]) for asked, (_, events) in zip(words, streamed, strict=True)]
        assert factory.generate_content("after the pool", temperature=None).success
    assert [asked for asked, answer in answers if not answer.success or asked not in answer.content] == []
    assert [asked for asked, end in ends if type(end) is not Finish or asked not in end.response.content] == []
    assert {type(answer) for _, answer in answers} == {LLMResponse}
    assert answers[0][1].attempts[0].outcome == "succeeded"
    assert answers[0][1].usage is not None
    assert answers[0][1].usage.total_tokens > 0


@LANES
def test_a_failure_comes_back_from_a_pool_as_it_is(lane, method, sandbox):
    sandbox.openai.always(faults.rate_limited(retry_after=7))
    with pool(method, sandbox, lane) as workers:
        with pytest.raises(errors.AllProvidersFailed) as all_failed:
            workers.submit(jobs.fail, "Hello", "call").result()
        with pytest.raises(errors.RateLimited) as raised:
            workers.submit(jobs.fail, "Hello", "attempt").result()
    assert [type(failure) for failure in all_failed.value.failures] == [errors.RateLimited]
    assert (raised.value.status, raised.value.retry_after, raised.value.provider) == (429, 7.0, "openai")


def test_what_is_given_to_another_process_arrives_as_it_was(method):
    failure = errors.Timeout("late", provider="openai", status=504, code="slow", request_id="r-1", retry_after=2.0)
    values = [Policy.eager(deadline=3), Policy.patient()]
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as workers:
        assert list(workers.map(jobs.give_back, values)) == values
        back = workers.submit(jobs.give_back, failure).result()
        queue = context.Queue()
        process = context.Process(target=jobs.give_to, args=(queue, values[0]))
        process.start()
        assert queue.get(timeout=60) == values[0]
        process.join(60)
        queue.close()
        queue.join_thread()
    assert process.exitcode == 0
    process.close()
    assert (type(back), vars(back)) == (errors.Timeout, vars(failure))


def test_a_factory_is_not_given_to_another_process(method, sandbox):
    context = multiprocessing.get_context(method)
    with LLMFactory("openai", [], settings=sandbox.environment(), extensions=[]) as factory:
        with ProcessPoolExecutor(1, mp_context=context) as workers:
            with pytest.raises(TypeError, match=r"LLMFactory\(openai\) .* make one where it is used"):
                workers.submit(jobs.give_back, factory).result()
            assert workers.submit(jobs.give_back, "well").result() == "well"
