"""Whatever comes in whatever order, doubled and late: a committed order stays, and nothing is held twice or lost."""

from hypothesis import given, strategies as st

from tests.unit.two_phase_commit_participant.fake_business import BUSY, NO, YES, FakeBusiness
from tests.unit.two_phase_commit_participant.words import abort, attempt, commit
from utils.two_phase_commit.messages import Attempt, Vote, VoteKind
from utils.two_phase_commit.participant import Participant, Phase

attempts = st.builds(attempt, st.integers(1, 2), epoch=st.integers(1, 2), order=st.integers(1, 2))
messages = st.tuples(st.sampled_from(["prepare", "commit", "abort"]), attempts, st.sampled_from([YES, YES, NO, BUSY]))


@given(st.lists(messages, max_size=40))
def test_the_rules_hold_for_every_history(history: list[tuple[str, Attempt, object]]) -> None:
    business = FakeBusiness()
    node = Participant[str](business, host="database")
    votes: dict[Attempt, Vote] = {}
    aborted: set[Attempt] = set()
    for what, of, verdict in history:
        highest = record.attempt if (record := node.records.get(of.order_id)) else None
        committed = business.committed.get(of.order_id)
        if what == "prepare":
            business.verdict = next(known for known in (YES, NO, BUSY) if known is verdict)
            vote = node.prepare(of, 10, "work")
            if vote.kind.is_vote:
                assert votes.setdefault(of, vote) == vote, "the vote of an attempt changed"
                assert of not in aborted, "an aborted attempt voted"
                assert highest is None or of >= highest, "the fence fell"
            assert (vote.kind is VoteKind.ALREADY_COMMITTED) == (committed is not None)
        elif what == "commit":
            held = business.held.get(of.order_id)
            assert node.decide(commit(of)).done == (of in (held, committed))
        else:
            assert node.decide(abort(of)).done == (of != committed)
            aborted.update(
                attempt(number, epoch=epoch, order=int(of.order_id, 16))
                for epoch in (1, 2)
                for number in (1, 2)
                if (epoch, number) <= (of.epoch, of.number)
            )
            assert of.order_id not in business.held or business.held[of.order_id] > of
        assert business.committed.get(of.order_id) in (committed, of if what == "commit" else committed)
        prepared = {key: record.attempt for key, record in node.records.items() if record.phase is Phase.PREPARED}
        assert business.held == prepared == {of.order_id: of for of in node.in_doubt}
