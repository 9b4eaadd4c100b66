"""A business that says what it is told to say, and remembers what it was asked to do."""

from utils.domain.order import Reason
from utils.two_phase_commit.messages import Attempt, VoteKind
from utils.two_phase_commit.participant import Verdict

SOLD_OUT = Reason("out_of_stock", "Sold out.")
YES = Verdict(VoteKind.COMMIT)
NO = Verdict(VoteKind.ABORT, (SOLD_OUT,))
BUSY = Verdict(VoteKind.BUSY)


class FakeBusiness:
    """Fails when something is held, committed or released that may not be."""

    def __init__(self) -> None:
        self.verdict = YES
        self.asked: list[Attempt] = []
        self.held: dict[str, Attempt] = {}
        self.committed: dict[str, Attempt] = {}

    def hold(self, attempt: Attempt, work: str) -> Verdict:
        assert attempt.order_id not in self.held, "an older hold was not released"
        assert attempt.order_id not in self.committed
        self.asked.append(attempt)
        if self.verdict is YES:
            self.held[attempt.order_id] = attempt
        return self.verdict

    def commit(self, attempt: Attempt, work: str) -> str:
        assert self.held.pop(attempt.order_id) == attempt
        assert attempt.order_id not in self.committed, "committed twice"
        self.committed[attempt.order_id] = attempt
        return f"code of {attempt.epoch}.{attempt.number}"

    def release(self, attempt: Attempt, work: str) -> None:
        assert self.held.pop(attempt.order_id) == attempt
