"""What the explorer leaves out, and why that hides nothing."""

from tests.model.state import State, bits_of
from tests.model.words import Acknowledged, Ask, Finished, HandOut, LostDisk, PowerCut
from tests.model.world import World
from utils.two_phase_commit.actions import SendPrepare
from utils.two_phase_commit.messages import Attempt


class Reduction:
    """Not for worlds in which a participant can lose what is durable: there, what is spent may matter again."""

    def __init__(self, world: World) -> None:
        self._world = world
        # By message: whose state says whether it is still of use.
        self._matters_to: dict[int, str | int] = {}
        # By message, that state, and leaders: whether it is.
        self._lives: dict[tuple[int, int, tuple[int, ...]], bool] = {}

    def reduced(self, state: State) -> State:
        """As good as `state` for everything that may follow."""
        return self._without_spent(self._after_acknowledgements(state))

    def _after_acknowledgements(self, state: State) -> State:
        """With every acknowledgement heard that makes its leader neither say anything nor forgo anything.

        That is the first one of a decision, and the log's of a finished order.

        Such a step is seen by nobody and hinders no other, so nothing is lost by taking it at once.
        """
        for message in bits_of(state.messages):
            if isinstance(self._world.message(message), Acknowledged | Finished):
                for at, leader in enumerate(state.leaders):
                    number, sent, fault = self._world.outcome("leader", leader, message)
                    if number != leader and not sent and fault is None:
                        state = state._replace(leaders=(*state.leaders[:at], number, *state.leaders[at + 1 :]))
        return state

    def _without_spent(self, state: State) -> State:
        """Without the messages that nobody will ever make anything of.

        To lose a message is always possible, so this can hide behaviour, but not invent it. It hides none: a message is
        spent only when no node would change by it or by what is answered to it, and that stays so. A coordinator never
        returns to an earlier attempt or step, a participant's fence never falls, and whoever needs an answer later asks
        for it again. Only a busy participant and a question in doubt can find another answer later.
        """
        live = 0
        remaining = state.messages
        while remaining:
            bit = remaining & -remaining
            remaining ^= bit
            message = bit.bit_length() - 1
            if (reader := self._matters_to.get(message)) is None:
                content = self._world.message(message)
                reader = content.participant if isinstance(content, Ask) else self._world.addressee(message)
                self._matters_to[message] = reader
            key = (message, self._world.node_of(state, reader), state.leaders)
            if (is_live := self._lives.get(key)) is None:
                is_live = self._lives[key] = self._is_live(state, message)
            if is_live:
                live |= bit
        return state._replace(messages=live)

    def _is_live(self, state: State, message: int) -> bool:
        content, addressee = self._world.message(message), self._world.addressee(message)
        if isinstance(content, HandOut | PowerCut | LostDisk):
            return True
        if isinstance(content, Ask):
            return self._is_at(state, content.participant, content.attempt, "prepared")
        if isinstance(content, SendPrepare) and self._is_at(state, content.participant, content.attempt, "busy"):
            return True
        if addressee == "log" and not self._world.may_commit(state, message):
            return False
        if isinstance(addressee, str) and addressee != "leaders":
            return self._makes_a_difference(state, addressee, self._world.node_of(state, addressee), message)
        return any(
            addressee in ("leaders", self._world.leader(leader).epoch)
            and self._makes_a_difference(state, "leader", leader, message)
            for leader in state.leaders
        )

    def _makes_a_difference(self, state: State, actor: str, node: int, message: int) -> bool:
        number, sent, fault = self._world.outcome(actor, node, message)
        if number != node or fault is not None:
            return True
        # That a participant is in doubt is known from its own state; and leaders only answer by changing.
        return actor != "leader" and any(
            not isinstance(self._world.message(answer), Ask) and self._is_live(state, answer)
            for answer in bits_of(sent)
        )

    def _is_at(self, state: State, participant: str, attempt: Attempt, phase: str) -> bool:
        standing = self._world.standing(participant, state, attempt.order_id)
        return standing.attempt == attempt and standing.phase == phase
