"""The driver's DNS messages, judged by dnspython."""

import random

import dns.edns
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verdicts import dnswire


@pytest.mark.parametrize("qtype", ["A", "AAAA", "HTTPS", "TXT", "PTR", "SRV", "MX", "CAA"])
def test_dnspython_reads_the_query(qtype: str) -> None:
    message = dns.message.from_wire(dnswire.query(77, "www.example.org", qtype))
    assert message.id == 77 and message.flags == 0x0100 and message.edns == 0 and message.payload == 1232
    assert message.question[0].to_text() == f"www.example.org. IN {qtype}"


def test_a_query_can_leave_edns_out() -> None:
    assert dns.message.from_wire(dnswire.query(1, "example.org", "A", edns=False)).edns == -1


@given(st.lists(st.binary(min_size=1, max_size=63), min_size=1, max_size=3))
def test_any_octets_survive_presentation_and_wire(labels: list[bytes]) -> None:
    wire = b"".join(bytes([len(x)]) + x for x in labels) + b"\0"
    question = dnswire.parse_question(b"\0\1\1\0\0\1\0\0\0\0\0\0" + wire + b"\0\1\0\1")
    assert dnswire.encode_name(question.qname) == wire


@pytest.mark.parametrize("name", ["a..b", ".a", "x" * 64, "a\\", "a\\25", "a\\999"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(dnswire.BadMessage):
        dnswire.encode_name(name)


@pytest.mark.parametrize("name", [".", ""])
def test_the_root_is_a_name(name: str) -> None:
    assert dnswire.encode_name(name) == b"\0"


def _reply(rcode: str = "NOERROR", answers: int = 0, ede: tuple[int, ...] = ()) -> bytes:
    message = dns.message.make_response(dns.message.from_wire(dnswire.query(9, "www.example.org", "A")))
    for i in range(answers):
        message.answer.append(dns.rrset.from_text(f"a{i}.www.example.org.", 60, "IN", "A", f"192.0.2.{i}"))
    message.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode(code), "why") for code in ede])
    message.set_rcode(dns.rcode.from_text(rcode))
    return message.to_wire()


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"])
def test_the_rcode_is_read(rcode: str) -> None:
    assert dnswire.parse_reply(_reply(rcode)) == dnswire.Reply(9, rcode, False, 0, ())


def test_an_extended_rcode_is_read() -> None:
    assert dnswire.parse_reply(_reply("BADVERS")).rcode == "16"


def test_answers_and_extended_errors_are_read() -> None:
    assert dnswire.parse_reply(_reply(answers=3, ede=(15, 17))) == dnswire.Reply(9, "NOERROR", False, 3, (15, 17))


def test_a_query_is_no_reply() -> None:
    with pytest.raises(dnswire.BadMessage, match="a query where a reply was expected"):
        dnswire.parse_reply(dnswire.query(1, "example.org", "A"))


def test_any_cut_or_noise_is_a_bad_message_or_a_reply() -> None:
    rng, whole = random.Random(3), _reply(answers=2, ede=(15,))
    for _ in range(2000):
        noisy = bytearray(whole[: rng.randrange(len(whole) + 1)])
        for _ in range(rng.randrange(4)):
            if noisy:
                noisy[rng.randrange(len(noisy))] = rng.randrange(256)
        for parse in (dnswire.parse_reply, dnswire.parse_question):
            try:
                parse(bytes(noisy))
            except dnswire.BadMessage:
                pass
