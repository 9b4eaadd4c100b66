"""The log as the core sees it: in memory, with what of it is committed, and what of it the disk has been given."""

import bisect
from collections.abc import Iterable, Sequence

from utils.raft.core.configuration import Configuration, Configurations, configuration_of
from utils.raft.core.messages import Entry, LogBase, Snapshot
from utils.raft.core.ready import Compaction


class RaftLog:
    """Consecutive entries after `base`; terms never decrease along them; what is committed never changes."""

    def __init__(self, snapshot: Snapshot, base: LogBase, entries: Iterable[Entry], bootstrap: Configuration) -> None:
        """`snapshot` covers `base`, and perhaps some of the entries, which followers may still need.

        `bootstrap`: the configuration until an entry brings another.
        """
        self.base = base
        self.commit_index = snapshot.last_included_index
        self._entries = list(entries)
        self._check_consecutive(base.index, self._entries)
        assert self.term_at(self.commit_index) == snapshot.last_included_term, "log and snapshot do not meet"
        self._unwritten_index = self.last_index + 1
        self._unapplied_index = self.commit_index + 1
        self._is_base_new = False
        self._bootstrap = bootstrap
        self._configurations = self._configurations_of(snapshot)
        self._configurations.appended(self.entries_between(self.commit_index + 1, self.last_index), self.commit_index)

    @property
    def configuration(self) -> Configuration:
        """The one that is in force: the newest in the log, committed or not."""
        return self._configurations.latest

    @property
    def configuration_index(self) -> int:
        return self._configurations.latest_index

    @property
    def last_index(self) -> int:
        return self.base.index + len(self._entries)

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.base.term

    def term_at(self, index: int) -> int | None:
        """The term of the entry at `index`; None if it lies before the base, or after the end."""
        if index == self.base.index:
            return self.base.term
        if self.base.index < index <= self.last_index:
            return self._entries[index - self.base.index - 1].term
        return None

    def entries_between(self, first_index: int, last_index: int) -> list[Entry]:
        """Both included; the log must hold `first_index` (or it is one after the last)."""
        assert first_index > self.base.index
        return self._entries[first_index - self.base.index - 1 : max(0, last_index - self.base.index)]

    def is_candidate_up_to_date(self, last_log_index: int, last_log_term: int) -> bool:
        """Whether a log that ends so is at least as up-to-date as this one (paper, section 5.4.1)."""
        return (last_log_term, last_log_index) >= (self.last_term, self.last_index)

    def append(self, entries: Sequence[Entry]) -> None:
        self._check_consecutive(self.last_index, entries)
        self._entries.extend(entries)
        self._configurations.appended(entries, self.commit_index)

    def first_conflict(self, entries: Sequence[Entry]) -> int | None:
        """The index of the first of `entries` that the log holds with another term, or does not hold yet."""
        for entry in entries:
            if self.term_at(entry.index) != entry.term:
                return entry.index
        return None

    def truncate_from(self, index: int) -> None:
        """Drops the entry at `index` and all that follow it."""
        assert index > self.commit_index, f"entry {index} conflicts, but {self.commit_index} is committed"
        del self._entries[index - self.base.index - 1 :]
        self._unwritten_index = min(self._unwritten_index, index)
        self._configurations.truncated_from(index)

    def commit_to(self, index: int) -> bool:
        """Whether the commit index grew; it never shrinks."""
        if index <= self.commit_index:
            return False
        assert index <= self.last_index, f"entry {index} is committed, but the log ends at {self.last_index}"
        self.commit_index = index
        return True

    def conflict_hint(self, prev_log_index: int) -> tuple[int, int]:
        """Where the leader should look next when the entry at `prev_log_index` does not match: (index, term).

        Paper, end of section 5.3: the term of the conflicting entry and the first index of that term, so that the
        leader skips a whole term at a time. For a log that is too short: one after its end, and term 0.
        """
        term = self.term_at(prev_log_index)
        if term is None:
            return self.last_index + 1, 0
        first_of_term = self.base.index + 1 + bisect.bisect_left(self._entries, term, key=_term)
        return max(first_of_term, self.commit_index + 1), term

    def last_index_of_term(self, term: int) -> int | None:
        """The last entry of `term`, be it the base; None if there is none, as far as the log goes back."""
        end = bisect.bisect_right(self._entries, term, key=_term)
        return self.base.index + end if self.term_at(self.base.index + end) == term else None

    def compact(self, index: int) -> None:
        """Forgets the entries up to `index`, which a durable snapshot covers."""
        if index <= self.base.index:
            return
        assert index < min(self._unapplied_index, self._unwritten_index), f"{index} is not applied and written yet"
        term = self.term_at(index)
        assert term is not None
        del self._entries[: index - self.base.index]
        self.base = LogBase(index, term)
        self._is_base_new = True

    def replace_by(self, snapshot: Snapshot) -> None:
        """A snapshot of the leader takes the place of the whole log, and is committed and applied."""
        assert snapshot.last_included_index > self.commit_index
        self.base = LogBase(snapshot.last_included_index, snapshot.last_included_term)
        self._entries.clear()
        self.commit_index = self.base.index
        self._unwritten_index = self._unapplied_index = self.base.index + 1
        self._is_base_new = True
        self._configurations = self._configurations_of(snapshot)

    def take_compaction(self) -> Compaction | None:
        """What the disk should hold instead of what it was given so far, once."""
        if not self._is_base_new:
            return None
        self._is_base_new = False
        return Compaction(self.base, tuple(self.entries_between(self.base.index + 1, self._unwritten_index - 1)))

    def take_unwritten(self) -> tuple[Entry, ...]:
        """The entries that the disk has not been given yet, once."""
        if self._unwritten_index > self.last_index:
            return ()
        entries = tuple(self.entries_between(self._unwritten_index, self.last_index))
        self._unwritten_index = self.last_index + 1
        return entries

    def take_committed(self, limit: int) -> tuple[Entry, ...]:
        """The next committed entries, at most `limit`, once."""
        last_index = min(self.commit_index, self._unapplied_index + limit - 1)
        if last_index < self._unapplied_index:
            return ()
        entries = tuple(self.entries_between(self._unapplied_index, last_index))
        self._unapplied_index = last_index + 1
        return entries

    @property
    def has_more_committed(self) -> bool:
        """Than was taken."""
        return self.commit_index >= self._unapplied_index

    def _configurations_of(self, snapshot: Snapshot) -> Configurations:
        data = snapshot.configuration
        return Configurations(snapshot.last_included_index, configuration_of(data) if data else self._bootstrap)

    @staticmethod
    def _check_consecutive(last_index: int, entries: Sequence[Entry]) -> None:
        for offset, entry in enumerate(entries, start=1):
            assert entry.index == last_index + offset, f"entry {entry.index} does not follow {last_index + offset - 1}"


def _term(entry: Entry) -> int:
    return entry.term
