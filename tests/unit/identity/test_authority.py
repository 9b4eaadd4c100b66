"""Certificates and authorities over a simulated year: at each moment everybody trusts whoever signs."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from utils.identity.authority import AUTHORITY_LIFETIME, LIFETIME, OVERLAP, Authorities
from utils.identity.certificate import read_certificate
from utils.identity.distribution import Member, distribute
from utils.identity.files import CERTIFICATE, KEY, TRUSTED
from utils.identity.spiffe import Identity

QUEUE = Member.parse("order_queue/order_queue_1")
PAYMENT = Member.parse("payment/payment-service=payment-service,10.0.0.7")
MEMBERS = (QUEUE, PAYMENT)


class Clock:
    def __init__(self) -> None:
        self.time = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authorities(tmp_path: Path, clock: Clock) -> Authorities:
    return Authorities(tmp_path / "authority", now=clock)


@pytest.fixture
def granted(tmp_path: Path) -> Path:
    return tmp_path / "granted"


def accepts(verifier: Path, shown: Path, at: datetime) -> bool:
    """Whether who has the files in `verifier` believes who has those in `shown`."""
    store = Store(x509.load_pem_x509_certificates((verifier / TRUSTED).read_bytes()))
    certificate = x509.load_pem_x509_certificate((shown / CERTIFICATE).read_bytes())
    try:
        PolicyBuilder().store(store).time(at).build_client_verifier().verify(certificate, [])
    except VerificationError:
        return False
    return True


def test_a_certificate_names_its_owner_and_where_it_is(authorities: Authorities, granted: Path, clock: Clock) -> None:
    assert distribute(authorities, MEMBERS, granted) == [QUEUE.identity, PAYMENT.identity]
    certificate = read_certificate((granted / "payment-service" / CERTIFICATE).read_bytes())
    assert certificate.identity == Identity("payment", "payment-service")
    assert certificate.hosts == {"payment-service", "10.0.0.7", "localhost", "127.0.0.1"}
    assert certificate.not_after == clock.time + LIFETIME
    assert accepts(granted / "order_queue_1", granted / "payment-service", clock.time)


def test_private_keys_are_readable_by_their_owner_alone(
    authorities: Authorities, granted: Path, tmp_path: Path
) -> None:
    distribute(authorities, MEMBERS, granted)
    keys = [*granted.rglob(KEY), *(tmp_path / "authority").glob("*.key")]
    assert len(keys) == 3
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_giving_out_again_changes_nothing_before_it_is_due(
    authorities: Authorities, granted: Path, clock: Clock
) -> None:
    distribute(authorities, MEMBERS, granted)
    clock.time += LIFETIME / 2
    assert distribute(authorities, MEMBERS, granted) == []
    clock.time += timedelta(seconds=1)
    assert distribute(authorities, MEMBERS, granted) == [QUEUE.identity, PAYMENT.identity]


@pytest.mark.parametrize("name", [KEY, CERTIFICATE])
@pytest.mark.parametrize("left", [b"", b"-----BEGIN", None])
def test_what_a_power_cut_has_left_is_made_again(
    authorities: Authorities, granted: Path, name: str, left: bytes | None
) -> None:
    distribute(authorities, MEMBERS, granted)
    path = granted / "order_queue_1" / name
    path.unlink() if left is None else path.write_bytes(left)
    assert distribute(authorities, MEMBERS, granted) == [QUEUE.identity]


def test_a_key_without_its_certificate_is_made_again(authorities: Authorities, granted: Path) -> None:
    distribute(authorities, MEMBERS, granted)
    (granted / "payment-service" / KEY).rename(granted / "order_queue_1" / KEY)
    assert distribute(authorities, MEMBERS, granted) == [QUEUE.identity, PAYMENT.identity]


def test_other_hosts_need_another_certificate(authorities: Authorities, granted: Path) -> None:
    distribute(authorities, [QUEUE], granted)
    moved = Member.parse("order_queue/order_queue_1=order_queue_1,queue.example.org")
    assert distribute(authorities, [moved], granted) == [QUEUE.identity]


def test_everybody_believes_everybody_while_authorities_follow_each_other_for_two_years(
    tmp_path: Path, granted: Path, clock: Clock
) -> None:
    """A process may use files that are one distribution old: those believe, and are believed, too."""
    lifetime = timedelta(days=30)
    authorities = Authorities(tmp_path / "authority", lifetime=lifetime, overlap=timedelta(days=12), now=clock)
    signers = set()
    before: dict[Path, dict[str, bytes]] = {}
    directories = [granted / "order_queue_1", granted / "payment-service"]
    end = clock.time + 2 * AUTHORITY_LIFETIME
    while clock.time < end:
        distribute(authorities, MEMBERS, granted)
        signers.add(authorities.signer.name)
        late = granted / "late"
        late.mkdir(exist_ok=True)
        for directory in directories:
            for name, data in before.get(directory, {}).items():
                (late / name).write_bytes(data)
            if directory in before:
                for other in directories:
                    assert accepts(late, other, clock.time)
                    assert accepts(other, late, clock.time)
            before[directory] = {name: (directory / name).read_bytes() for name in (TRUSTED, CERTIFICATE)}
        clock.time += lifetime / 3
    assert len(signers) >= 3
    assert (granted / "order_queue_1" / TRUSTED).read_bytes().count(b"BEGIN") <= 2


def test_a_replaced_authority_is_trusted_until_its_last_certificate_has_expired(
    authorities: Authorities, granted: Path, clock: Clock, tmp_path: Path
) -> None:
    distribute(authorities, MEMBERS, granted)
    first = authorities.signer.name
    authorities.replace()
    assert distribute(authorities, MEMBERS, granted) == []
    assert authorities.signer.name == first
    assert authorities.bundle.count(b"BEGIN") == 2
    clock.time += OVERLAP
    assert distribute(authorities, MEMBERS, granted) == [QUEUE.identity, PAYMENT.identity]
    assert authorities.signer.name != first
    assert authorities.bundle.count(b"BEGIN") == 2
    clock.time += LIFETIME
    distribute(authorities, MEMBERS, granted)
    assert authorities.bundle.count(b"BEGIN") == 1
    assert len(list((tmp_path / "authority").glob("*.key"))) == 1


@pytest.mark.parametrize("text", ["order_queue", "a/b/c", "order queue/1", "/x", "x/", "../x", "a/.."])
def test_what_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"SPIFFE|service/node|host"):
        Member.parse(text)
