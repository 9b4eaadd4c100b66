"""Each question is asked once for all who have it; failures and what is old are asked again; memory is bounded."""

import asyncio

import pytest

from suggestions.shared_answers import SharedAnswers


class Asked:
    """Answers a question with itself in capitals, once it may."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.failing = False

    async def __call__(self, question: str) -> str:
        self.questions.append(question)
        await self.may_answer.wait()
        if self.failing:
            raise LookupError(question)
        return question.upper()


async def test_all_who_ask_at_the_same_time_share_one_question_and_one_may_leave() -> None:
    asked = Asked()
    asked.may_answer.clear()
    answers = SharedAnswers(asked, entries_max=5)
    first, second = (asyncio.create_task(answers.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    asked.may_answer.set()
    assert await second == "A"
    assert first.cancelled()
    assert await answers.get("a") == "A"
    assert asked.questions == ["a"]


async def test_failures_are_told_to_everybody_and_not_kept() -> None:
    asked = Asked()
    asked.failing = True
    answers = SharedAnswers(asked, entries_max=5)
    assert [
        type(answer) for answer in await asyncio.gather(*(answers.get("a") for _ in range(2)), return_exceptions=True)
    ] == [LookupError, LookupError]
    assert not answers.has("a")
    asked.failing = False
    assert await answers.get("a") == "A"
    assert asked.questions == ["a", "a"]


async def test_failure_that_nobody_waits_for_is_silent() -> None:
    asked = Asked()
    asked.failing = True
    asked.may_answer.clear()
    answers = SharedAnswers(asked, entries_max=5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await answers.get("a")
    asked.may_answer.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not answers.has("a")


async def test_old_answers_are_asked_for_again() -> None:
    asked = Asked()
    answers = SharedAnswers(asked, entries_max=5, age_s_max=0)
    await answers.get("a")
    assert not answers.has("a")
    await answers.get("a")
    assert asked.questions == ["a", "a"]


async def test_answers_that_are_not_worth_keeping_are_asked_for_again() -> None:
    asked = Asked()
    answers = SharedAnswers(asked, entries_max=5, keep=lambda answer: answer != "A")
    for question in "aabb":
        await answers.get(question)
    assert asked.questions == ["a", "a", "b"]


async def test_the_least_recently_used_leaves_first() -> None:
    asked = Asked()
    answers = SharedAnswers(asked, entries_max=2)
    for question in "abacab":
        await answers.get(question)
    assert asked.questions == ["a", "b", "c", "b"]


async def test_forgotten_answer_that_comes_late_takes_no_place() -> None:
    asked = Asked()
    asked.may_answer.clear()
    answers = SharedAnswers(asked, entries_max=2, keep=lambda _: False)
    early = asyncio.create_task(answers.get("a"))
    await asyncio.sleep(0)
    answers.clear()
    late = asyncio.create_task(answers.get("a"))
    await asyncio.sleep(0)
    asked.may_answer.set()
    assert [await early, await late] == ["A", "A"]
    assert asked.questions == ["a", "a"]
