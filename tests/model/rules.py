"""The rules of the protocol, each of which can be taken away to see what it is there for."""

import enum


class Rule(enum.StrEnum):
    """Named by what holds while it is kept. The value is what `--without` takes; `RULES` says it in a sentence."""

    # The log and its leaders.
    RECORDED_BEFORE_TOLD = enum.auto()
    COMPLETE_AFTER_ACKNOWLEDGED = enum.auto()
    LEADER_APPLIES_ITS_LOG = enum.auto()
    DECIDED_IS_NOT_TRIED_AGAIN = enum.auto()
    PROPOSAL_ENDS_WITH_ITS_TERM = enum.auto()
    FIRST_DECISION_WINS = enum.auto()
    UNKNOWN_IS_REPEATED = enum.auto()
    TRANSIENT_NEVER_REJECTS = enum.auto()
    # Votes and attempts.
    COMMIT_NEEDS_ALL_VOTES = enum.auto()
    VOTES_COUNT_FOR_THEIR_ATTEMPT = enum.auto()
    NUMBER_IS_USED_ONCE = enum.auto()
    VOTES_ARE_DURABLE = enum.auto()
    BUSY_IS_NO_NO = enum.auto()
    # The fence.
    LOWER_PREPARE_IS_REFUSED = enum.auto()
    HIGHER_PREPARE_RELEASES = enum.auto()
    SAME_PREPARE_SAME_ANSWER = enum.auto()
    ATTEMPTS_COMPARE_AS_NUMBERS = enum.auto()
    ABORT_STOPS_AT_ITS_ATTEMPT = enum.auto()
    ABORT_LEAVES_A_MARK = enum.auto()
    ABORT_SPARES_A_COMMIT = enum.auto()
    COMMIT_IS_OF_ONE_ATTEMPT = enum.auto()
    UNPREPARED_COMMIT_IS_AN_ALARM = enum.auto()
    COMMITTED_IS_REMEMBERED = enum.auto()
    # In doubt.
    OWN_EPOCH_IS_UNDECIDED = enum.auto()
    LATER_EPOCH_IS_NOT_ANSWERED = enum.auto()
    ONLY_A_READY_LEADER_ANSWERS = enum.auto()
    # Leaders by Bully.
    EPOCH_IS_OF_ONE_LEADER = enum.auto()
    EPOCH_IS_CHECKED_AS_WRITTEN = enum.auto()
    READ_AFTER_RAISE = enum.auto()


RULES: dict[Rule, str] = {
    Rule.RECORDED_BEFORE_TOLD: "A decision leaves the executor only when it is committed in the executors' log.",
    Rule.COMPLETE_AFTER_ACKNOWLEDGED: "The queue is told, and the order finished, after all participants acknowledged.",
    Rule.LEADER_APPLIES_ITS_LOG: "A new leader applies its whole log before it takes an order.",
    Rule.DECIDED_IS_NOT_TRIED_AGAIN: "A decided order has no new attempt: its decision is driven.",
    Rule.PROPOSAL_ENDS_WITH_ITS_TERM: "A proposal is committed in its leader's term or never.",
    Rule.FIRST_DECISION_WINS: "The log keeps the first decision, and answers later proposals with it.",
    Rule.UNKNOWN_IS_REPEATED: "After a proposal of unknown outcome, only the same proposal is repeated.",
    Rule.TRANSIENT_NEVER_REJECTS: "Silence, busy and refused give an attempt up; only a business reason rejects.",
    Rule.COMMIT_NEEDS_ALL_VOTES: "COMMIT is proposed when every participant voted commit.",
    Rule.VOTES_COUNT_FOR_THEIR_ATTEMPT: "A vote counts for the attempt that it names, and no other.",
    Rule.NUMBER_IS_USED_ONCE: "The attempt after one that was given up has a higher number.",
    Rule.VOTES_ARE_DURABLE: "A vote leaves when it is durable: no power cut takes it back.",
    Rule.BUSY_IS_NO_NO: "Missing copies that undecided orders hold are busy, not a No.",
    Rule.LOWER_PREPARE_IS_REFUSED: "A Prepare below the highest attempt seen is refused.",
    Rule.HIGHER_PREPARE_RELEASES: "A Prepare above a prepared attempt rolls that one back first.",
    Rule.SAME_PREPARE_SAME_ANSWER: "The same Prepare again has the same answer, and does nothing.",
    Rule.ATTEMPTS_COMPARE_AS_NUMBERS: "Attempts compare as numbers: 9.1 is below 10.1.",
    Rule.ABORT_STOPS_AT_ITS_ATTEMPT: "Abort(a) ends attempts up to a, never a later one.",
    Rule.ABORT_LEAVES_A_MARK: "An Abort leaves a mark, so that a late Prepare is refused.",
    Rule.ABORT_SPARES_A_COMMIT: "An Abort never touches what is committed.",
    Rule.COMMIT_IS_OF_ONE_ATTEMPT: "Commit touches exactly its attempt.",
    Rule.UNPREPARED_COMMIT_IS_AN_ALARM: "A Commit of what is not prepared is an alarm, not an acknowledgement.",
    Rule.COMMITTED_IS_REMEMBERED: "A committed order answers so for ever.",
    Rule.OWN_EPOCH_IS_UNDECIDED: "Asked about an attempt of its own epoch that it has not given up, a leader waits.",
    Rule.LATER_EPOCH_IS_NOT_ANSWERED: "A leader says nothing about attempts of later epochs.",
    Rule.ONLY_A_READY_LEADER_ANSWERS: "A leader answers after its own no-op is committed, a follower never.",
    Rule.EPOCH_IS_OF_ONE_LEADER: "Bully: each start of leading raises the epoch, by compare-and-set.",
    Rule.EPOCH_IS_CHECKED_AS_WRITTEN: "Bully: a decision is recorded if the epoch is the writer's, in the same step.",
    Rule.READ_AFTER_RAISE: "Bully: a leader reads the decisions after it has raised the epoch, not before.",
}
