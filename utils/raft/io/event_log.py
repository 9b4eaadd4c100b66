"""What the core reports, in the log of the service."""

from utils.observe.logging import get_logger
from utils.raft.core.ready import (
    ConfigurationChanged,
    Event,
    LogTruncated,
    PeerForgot,
    RoleChanged,
    SnapshotInstalled,
    TransferGivenUp,
)

log = get_logger()


def log_event(event: Event) -> None:
    match event:
        case ConfigurationChanged(configuration, index):
            voters, learners = list(configuration.voters), list(configuration.learners)
            log.info("the configuration changed", voters=voters, learners=learners, index=index)
        case RoleChanged(role, term, leader_id, why):
            log.info("role changed", role=role.value, term=term, leader_id=leader_id, why=why)
        case LogTruncated(first_index, last_index, term):
            log.info("entries were replaced", first=first_index, last=last_index, term=term)
        case SnapshotInstalled(index, term):
            log.info("a snapshot of the leader was installed", index=index, term=term)
        case TransferGivenUp(target):
            log.warning("leadership was not handed over in time", target=target)
        case PeerForgot(peer):
            log.error("a peer has lost what it had acknowledged, and gets everything again", peer=peer)
