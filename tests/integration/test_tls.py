"""A whole job over TLS, and who is refused. The embedded server has no TLS; Redis 7 has."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from parallax.core.errors import InvalidInput, ParallaxError, StoreFault, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from tests.asynchronous import LinkOverAsync
from tests.integration.cells import Cell, jobs
from tests.servers import REDIS_7, wrapped
from tests.unit.cli.invoking import run_main

pytestmark = pytest.mark.slow

Address = Callable[..., str]


@dataclass
class Papers:
    """Certificates of one authority, as files."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.ca = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a new certificate and of its key."""
        issued = self.authority.issue_cert(name)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture(scope="module", params=["no", "yes"])
def address(request: pytest.FixtureRequest, papers: Papers) -> Iterator[Address]:
    """Return a function that makes a URL; the server asks for certificates of clients or not."""
    certificate, key = papers.issue("localhost")
    own_certificate, own_key = papers.issue("client@parallax.test")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = wrapped(
        papers.folder, REDIS_7.path(), "--tls-port", str(port), "--tls-cert-file", str(certificate),
        "--tls-key-file", str(key), "--tls-ca-cert-file", str(papers.ca),
        "--tls-auth-clients", request.param,
    )  # fmt: skip
    with EmbeddedServer(SystemClock(), ephemeral=True, binary=program) as server:
        assert server.info is not None
        password = server.info.tcp_url.split(":")[2].partition("@")[0]
        usual = {"ssl_ca_certs": papers.ca}
        if request.param == "yes":
            usual |= {"ssl_certfile": own_certificate, "ssl_keyfile": own_key}

        def url(host: str = "localhost", **changes: Path | str | None) -> str:
            parameters = {name: value for name, value in {**usual, **changes}.items() if value}
            query = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
            return f"rediss://:{password}@{host}:{port}/0?{query}"

        yield url


asking = pytest.mark.parametrize("address", ["yes"], indirect=True)
not_asking = pytest.mark.parametrize("address", ["no"], indirect=True)


def refused(url: str, papers: Papers, *, raced: bool = False) -> ParallaxError:
    """Return how a URL is refused; the error must not tell the password, nor where files are.

    A link that waits and one of an event loop say the same, unless two answers race each other.
    """
    errors = []
    for kind in (Link, LinkOverAsync):
        with pytest.raises(ParallaxError) as caught:
            kind.to(url).call("PING")
        errors.append(caught.value)
        for secret in (url.split(":")[2].partition("@")[0], str(papers.folder)):
            assert secret not in str(caught.value)
    assert raced or type(errors[0]) is type(errors[1])
    return errors[1]


@pytest.mark.parametrize("kind", [Link, LinkOverAsync])
def test_a_job_is_submitted_run_and_reported_over_tls(address: Address, kind: type[Link]) -> None:
    client = Client(address(), "cell")
    cell = Cell(lambda: kind.to(address()))
    cell.link.call("FLUSHALL")
    cell.scheduler()
    cell.worker()
    assert all(receipt.accepted for receipt in client.submit(jobs(20)))
    cell.until_ended(*(f"j{n}" for n in range(20)))
    ended = list(client.wait((f"j{n}" for n in range(20)), timeout_s=10))
    assert [completion.outcome for completion in ended] == [Outcome.COMPLETED] * 20
    client.close()
    for worker in cell.workers:
        worker.close()
    for scheduler in cell.schedulers:
        scheduler.close()
    cell.link.close()


@not_asking
def test_a_server_that_another_authority_vouches_for_is_refused(
    address: Address, papers: Papers, strangers: Papers
) -> None:
    for ca in (strangers.ca, None):  # None: those that the system trusts
        error = refused(address(ssl_ca_certs=ca), papers)
        assert isinstance(error, StoreFault)
        assert "no TLS with Redis: certificate verify failed" in str(error)


@not_asking
def test_a_server_of_another_name_is_refused(address: Address, papers: Papers) -> None:
    error = refused(address("127.0.0.1"), papers)
    assert isinstance(error, StoreFault)
    assert "not valid for '127.0.0.1'" in str(error)


@not_asking
def test_these_refusals_are_what_checking_does(address: Address, strangers: Papers) -> None:
    """The control: who asks for no checks is let in."""
    for url in (
        address("127.0.0.1", ssl_check_hostname="no"),
        address(ssl_ca_certs=strangers.ca, ssl_cert_reqs="none"),
    ):
        for kind in (Link, LinkOverAsync):
            link = kind.to(url)
            assert link.call("PING") == b"PONG"
            link.close()


@asking
def test_a_client_without_a_certificate_that_is_trusted_is_refused(
    address: Address, papers: Papers, strangers: Papers
) -> None:
    """What it is told depends on which is faster, the server's word or its hanging up."""
    certificate, key = strangers.issue("client@elsewhere.test")
    for pair in ((None, None), (certificate, key)):
        error = refused(address(ssl_certfile=pair[0], ssl_keyfile=pair[1]), papers, raced=True)
        assert isinstance(error, StoreFault | Unreachable)


@asking
def test_a_command_says_what_is_wrong_and_exits(
    address: Address, strangers: Papers, capsys: pytest.CaptureFixture[str]
) -> None:
    url = address(ssl_ca_certs=strangers.ca)
    answer = run_main(capsys, "submit", "--redis", url, "--prompt-tokens", "5", "--max-tokens", "5")
    assert answer.code == 4  # no server that could be trusted was reached
    assert "no TLS with Redis: certificate verify failed" in answer.err
    for secret in (url.split(":")[2].partition("@")[0], str(strangers.folder)):
        assert secret not in answer.out + answer.err


@not_asking
def test_a_client_without_tls_gets_no_answer(address: Address, papers: Papers) -> None:
    plain = address().replace("rediss://", "redis://").partition("?")[0]
    assert isinstance(refused(plain, papers), Unreachable)


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"ssl_ca_certs": "nowhere.pem"}, "ssl_ca_certs .*No such file"),
        ({"ssl_ca_certs": "client.key"}, "ssl_ca_certs .*no certificate"),
        ({"ssl_certfile": "nowhere.pem"}, "ssl_certfile and ssl_keyfile .*No such file"),
        ({"ssl_certfile": "client.pem", "ssl_keyfile": "other.key"}, "key values mismatch"),
        ({"ssl_keyfile": "client.key"}, "ssl_certfile and ssl_keyfile .*No such file"),
        ({"ssl_cert_reqs": "perhaps"}, "redis url"),
    ],
)
def test_files_that_will_not_do_are_refused_before_anybody_is_called(
    papers: Papers, parameters: dict[str, str], why: str
) -> None:
    papers.issue("client")
    papers.issue("other")
    query = "&".join(
        f"{name}={papers.folder / value if '.' in value else value}"
        for name, value in parameters.items()
    )
    with pytest.raises(InvalidInput, match=why):
        raise refused(f"rediss://:hunter2@127.0.0.1:1/0?{query}", papers)
