"""All nodes, the network between them and the log under them, as one state; and every step that it can take.

The network is a set of messages that stays deliverable: to lose one is never to deliver it, to double one is to deliver
it again, and order is whatever the explorer chooses. What a dead leader does is nothing, from any moment on; a deposed
one goes on for as long as the explorer likes.

The executors' log is what Raft promises of it: an entry proposed by the leader of an epoch is committed while no later
leader has its own no-op, or never. Electing the next leader stands for that no-op.

States of nodes and messages are numbered as they are met, so that a state of the world is a few small numbers, and a
node is asked only once what it makes of a message: that is what makes millions of states affordable.
"""

from collections.abc import Hashable, Iterator
from typing import Any

from tests.model.nodes import Leader, Nodes, addressee
from tests.model.parts import Parts
from tests.model.promises import Fault, check_world
from tests.model.rules import Rule
from tests.model.scenario import Scenario
from tests.model.state import Numbers, State, Step, bits_of
from tests.model.trace import line
from tests.model.words import (
    DATABASE,
    EPOCHS,
    HEALED_EPOCH,
    PARTICIPANTS,
    PAYMENT,
    Ask,
    HandOut,
    LostDisk,
    Message,
    PowerCut,
    Silence,
    Standing,
    Unknown,
)
from utils.two_phase_commit.actions import (
    RecordAsFinished,
    TryAgain,
)

# What a node makes of a message: its next state, what it sends, and what is wrong with that.
_Outcome = tuple[int, int, Fault | None]


class World:
    nodes_type: type[Nodes] = Nodes

    def __init__(
        self,
        scenario: Scenario,
        parts: Parts,
        without: frozenset[Rule] = frozenset(),
        *,
        only_promises: bool = False,
    ) -> None:
        """`only_promises`: a state in which a promise cannot be kept any more passes for as long as it is kept."""
        self.scenario = scenario
        self._only_promises = only_promises
        self._parts = parts
        self._nodes = self.nodes_type(scenario, parts, without, only_promises=only_promises)
        self._without = without
        self._order_ids = scenario.order_ids
        self._messages = Numbers()
        self._addressees: list[str | int] = []
        self._states: dict[str | int, Numbers] = {name: Numbers() for name in ("log", "queue", "leader", *PARTICIPANTS)}
        self._outcomes: dict[tuple[str | int, int, int], _Outcome] = {}
        self._checked: dict[tuple[int, int, int, int], Fault | None] = {}

    # States.

    def initial(self) -> State:
        messages: list[Message] = [HandOut(order_id) for order_id in self._order_ids]
        for participant in PARTICIPANTS:
            if self.scenario.has_power_cuts:
                messages.append(PowerCut(participant))
            if self.scenario.has_lost_disk:
                messages.append(LostDisk(participant))
        log = self._parts.log.initial()
        return State(
            self._states["log"].number(log),
            self._states["queue"].number((None,) * len(self._order_ids)),
            self._states[DATABASE].number(self._parts.participants[DATABASE].initial()),
            self._states[PAYMENT].number(self._parts.participants[PAYMENT].initial()),
            (self.new_leader(EPOCHS[0], log),),
            self._bits(messages),
        )

    def healed(self, state: State) -> State:
        """A new leader, a network that has forgotten what was late, and everybody else as they are."""
        leader = self.new_leader(HEALED_EPOCH, self._applied_by_new_leader(state))
        messages = self._bits([HandOut(order_id) for order_id in self._order_ids])
        return state._replace(leaders=(leader,), messages=messages)

    def has_ended(self, state: State) -> bool:
        """Every order has its result, is finished, and holds nothing."""
        log = self._states["log"].values[state.log]
        return (
            None not in self._states["queue"].values[state.queue]
            and all(self._parts.log.is_finished(log, order_id) for order_id in self._order_ids)
            and not any(standing.held for name in PARTICIPANTS for standing in self._standings(name, state))
        )

    def check(self, state: State) -> Fault | None:
        """What of the promises, or of what keeps them, this state breaks."""
        key = (state.log, state.queue, state.database, state.payment)
        if key not in self._checked:
            log = self._states["log"].values[state.log]
            self._checked[key] = check_world(
                self.scenario.copies,
                {order_id: self._parts.log.decision(log, order_id) for order_id in self._order_ids},
                {order_id for order_id in self._order_ids if self._parts.log.is_finished(log, order_id)},
                dict(zip(self._order_ids, self._states["queue"].values[state.queue], strict=True)),
                {name: dict(zip(self._order_ids, self._standings(name, state), strict=True)) for name in PARTICIPANTS},
                has_lost_disk=self.scenario.has_lost_disk,
                only_promises=self._only_promises,
            )
        return self._checked[key]

    def outside(self, state: State) -> tuple[Hashable, ...]:
        """What the world sees of a state: all but leaders and messages."""
        numbers = {"log": state.log, "queue": state.queue, DATABASE: state.database, PAYMENT: state.payment}
        return tuple(self._states[name].values[number] for name, number in numbers.items())

    # Steps.

    def steps(self, state: State) -> Iterator[tuple[Step, State, Fault | None]]:
        """Every step that changes something."""
        yield from self.election_steps(state)
        remaining = state.messages
        while remaining:
            bit = remaining & -remaining
            remaining ^= bit
            message = bit.bit_length() - 1
            reader = self._addressees[message]
            if reader == DATABASE:
                number, sent, fault = self.outcome(DATABASE, state.database, message)
                after = state._replace(database=number, messages=state.messages | sent)
            elif reader == PAYMENT:
                number, sent, fault = self.outcome(PAYMENT, state.payment, message)
                after = state._replace(payment=number, messages=state.messages | sent)
            elif reader == "queue":
                number, sent, fault = self.outcome("queue", state.queue, message)
                after = state._replace(queue=number, messages=state.messages | sent)
            elif reader == "log":
                if not self.may_commit(state, message):
                    continue
                number, sent, fault = self.outcome("log", state.log, message)
                after = state._replace(
                    log=number, leaders=self.after_commit(state, number), messages=state.messages | sent
                )
            else:
                yield from self._steps_of_leaders(state, message, reader)
                continue
            if after != state or fault is not None:
                yield Step(reader, message), after, fault
        yield from self.catch_up(state)

    def healed_steps(self, state: State) -> Iterator[tuple[Step, State, Fault | None]]:
        """Steps in an order that a healed world may take: answers come before anybody gives up waiting for them."""
        prompt: list[tuple[Step, State, Fault | None]] = []
        patient: list[tuple[Step, State, Fault | None]] = []
        for step, after, fault in self.steps(state):
            message = self._messages.values[step.message]
            if not isinstance(message, Silence | Unknown | PowerCut):
                (patient if isinstance(message, HandOut | TryAgain) else prompt).append((step, after, fault))
        yield from prompt
        yield from patient

    def describe(self, step: Step, before: State, after: State) -> str:
        """One line of a trace."""
        sent = after.messages & ~before.messages
        return line(
            step.actor,
            None if step.message < 0 else self._messages.values[step.message],
            [self._messages.values[number] for number in bits_of(sent)],
        )

    def after_commit(self, state: State, log: int) -> tuple[int, ...]:
        """Who leads applies what it commits; its coordinator hears of it by the answer."""
        return (*state.leaders[:-1], self._applied(state.leaders[-1], log))

    def election_steps(self, state: State) -> Iterator[tuple[Step, State, Fault | None]]:
        if self.may_elect(state):
            epoch = EPOCHS[len(state.leaders)]
            leader = self.new_leader(epoch, self._applied_by_new_leader(state))
            yield Step("elect", -1), state._replace(leaders=(*state.leaders, leader)), None

    def may_elect(self, state: State) -> bool:
        leader: Leader = self._states["leader"].values[state.leaders[-1]]
        return len(state.leaders) < self.scenario.leaders and leader.epoch != HEALED_EPOCH

    def catch_up(self, state: State) -> Iterator[tuple[Step, State, Fault | None]]:
        """A deposed leader's log goes on, as any follower's."""
        for at, leader in enumerate(state.leaders[:-1]):
            applied = self._applied(leader, state.log)
            if applied != leader and self._reads_the_log(leader):
                leaders = (*state.leaders[:at], applied, *state.leaders[at + 1 :])
                yield Step(EPOCHS[at], -1), state._replace(leaders=leaders), None

    def _reads_the_log(self, leader: int) -> bool:
        """Whether this leader knows some order's decision not yet: afterwards the log tells it nothing."""
        value: Leader = self._states["leader"].values[leader]
        return any(self._parts.log.decision(value.log, order_id) is None for order_id in self._order_ids)

    def _steps_of_leaders(
        self, state: State, message: int, reader: str | int
    ) -> Iterator[tuple[Step, State, Fault | None]]:
        for at, leader in enumerate(state.leaders):
            epoch = self._states["leader"].values[leader].epoch
            if reader not in ("leaders", epoch):
                continue
            number, sent, fault = self.outcome("leader", leader, message)
            if number != leader or sent & ~state.messages or fault is not None:
                leaders = (*state.leaders[:at], number, *state.leaders[at + 1 :])
                yield Step(epoch, message), state._replace(leaders=leaders, messages=state.messages | sent), fault
        if reader == "leaders" and Rule.ONLY_A_READY_LEADER_ANSWERS in self._without:
            yield from self._answer_before_ready(state, message)

    def _answer_before_ready(self, state: State, message: int) -> Iterator[tuple[Step, State, Fault | None]]:
        """The next leader is elected, and answers before its no-op is committed."""
        ask = self._messages.values[message]
        if isinstance(ask, Ask) and self.may_elect(state):
            epoch = EPOCHS[len(state.leaders)]
            leader = self._nodes.new_leader(epoch, self._states["log"].values[state.log])
            if sent := self._bits(self._nodes.answer(leader, ask)) & ~state.messages:
                yield Step(epoch, message), state._replace(messages=state.messages | sent), None

    # Numbers, and what they stand for.

    def outcome(self, actor: str, state: int, message: int) -> _Outcome:
        key = (actor, state, message)
        if (outcome := self._outcomes.get(key)) is None:
            after, sent, fault = self._nodes.outcome(
                actor, self._states[actor].values[state], self._messages.values[message]
            )
            outcome = self._outcomes[key] = (self._states[actor].number(after), self._bits(sent), fault)
        return outcome

    def message(self, number: int) -> Message:
        content: Message = self._messages.values[number]
        return content

    def addressee(self, message: int) -> str | int:
        return self._addressees[message]

    def leader(self, number: int) -> Leader:
        leader: Leader = self._states["leader"].values[number]
        return leader

    def standing(self, name: str, state: State, order_id: str) -> Standing:
        return self._standings(name, state)[self._order_ids.index(order_id)]

    def node_of(self, state: State, reader: str | int) -> int:
        """The number of the state of the one node that reads its messages; of leaders, there are many."""
        match reader:
            case "database":
                return state.database
            case "payment":
                return state.payment
            case "queue":
                return state.queue
            case "log":
                return state.log
            case _:
                return -1

    def new_leader(self, epoch: int, log: Any) -> int:
        return self._states["leader"].number(self._nodes.new_leader(epoch, log))

    def _applied_by_new_leader(self, state: State) -> Any:
        if Rule.LEADER_APPLIES_ITS_LOG in self._without:
            return self._parts.log.initial()
        return self._states["log"].values[state.log]

    def _applied(self, leader: int, log: int) -> int:
        key = ("applied", leader, log)
        if (outcome := self._outcomes.get(key)) is None:
            value: Leader = self._states["leader"].values[leader]
            number = self._states["leader"].number(value._replace(log=self._states["log"].values[log]))
            outcome = self._outcomes[key] = (number, 0, None)
        return outcome[0]

    def may_commit(self, state: State, message: int) -> bool:
        content = self._messages.values[message]
        if isinstance(content, RecordAsFinished) or Rule.PROPOSAL_ENDS_WITH_ITS_TERM in self._without:
            return True
        leader: Leader = self._states["leader"].values[state.leaders[-1]]
        epoch: int = content.decision.attempt.epoch
        return epoch == leader.epoch

    def _bits(self, messages: list[Message]) -> int:
        bits = 0
        for message in messages:
            number = self._messages.number(message)
            if number == len(self._addressees):
                self._addressees.append(addressee(message))
            bits |= 1 << number
        return bits

    def _standings(self, name: str, state: State) -> tuple[Standing, ...]:
        return self._parts.participants[name].standings(self._states[name].values[self.node_of(state, name)])
