import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.http.answers import ChangedError, Origin, Plan, RetryError, page_in, plan_answer, seconds_of, validator_of
from posegan.errors import PoseGANError

ORIGIN = Origin("http://a/b", '"1"', 100)


def headers(start: int | str = 40, total: int | str = 100, etag: str = '"1"') -> dict[str, str]:
    return {"Content-Range": f"bytes {start}-99/{total}", "ETag": etag}


def test_a_whole_answer_begins_at_the_beginning_whatever_was_asked() -> None:
    assert plan_answer(200, {"Content-Length": "7"}, 40, ORIGIN) == Plan(0, 7)
    assert plan_answer(200, {}, 0, ORIGIN) == Plan(0, None)
    assert plan_answer(200, {"Content-Length": "9" * 5000}, 0, ORIGIN) == Plan(0, None)


def test_the_rest_is_taken_when_it_is_the_rest_of_the_same_file() -> None:
    assert plan_answer(206, headers(), 40, ORIGIN) == Plan(40, 100)
    assert plan_answer(206, headers(total="*"), 40, ORIGIN) == Plan(40, 100)
    assert plan_answer(416, {"Content-Range": "bytes */100"}, 100, ORIGIN) == Plan(100, 100)


@pytest.mark.parametrize(
    ("status", "answered", "offset"),
    [
        (206, headers(start=41), 40),
        (206, headers(total=101), 40),
        (206, headers(etag='"2"'), 40),
        (206, {}, 40),
        (206, {"Content-Range": "nonsense"}, 40),
        (416, {"Content-Range": "bytes */90"}, 100),
        (416, {}, 40),
    ],
)
def test_any_other_rest_is_refused(status: int, answered: dict[str, str], offset: int) -> None:
    with pytest.raises(ChangedError):
        plan_answer(status, answered, offset, ORIGIN)


def test_what_passes_is_waited_for_and_what_stays_is_not() -> None:
    for status in (408, 425, 429, 500, 503, 599):
        with pytest.raises(RetryError) as caught:
            plan_answer(status, {"Retry-After": "12"}, 0, ORIGIN)
        assert caught.value.wait == 12
    for status in (201, 204, 206, 304, 400, 403, 404, 416):
        with pytest.raises(PoseGANError, match=f"http://a/b: the server answered {status}"):
            plan_answer(status, {}, 0, ORIGIN)


def test_only_a_strong_etag_names_a_version_else_the_date() -> None:
    assert validator_of({"ETag": '"x"', "Last-Modified": "d"}) == '"x"'
    assert validator_of({"ETag": 'W/"x"', "Last-Modified": "d"}) == "d"
    assert validator_of({"ETag": 'W/"x"'}) == ""


def test_retry_after_is_a_number_or_a_date() -> None:
    assert seconds_of("7", 0) == 7
    assert seconds_of(email.utils.formatdate(1060, usegmt=True), 1000) == 60
    assert seconds_of(email.utils.formatdate(900, usegmt=True), 1000) == 0
    assert seconds_of("soon", 0) == seconds_of("", 0) == seconds_of("9" * 5000, 0) == 0


def test_a_page_shows_its_title_or_its_words_and_an_archive_is_none() -> None:
    assert page_in(b"<html><TITLE>\n Quota &amp; more </TITLE>") == "Quota & more"
    assert page_in(b"Too many\nrequests") == "Too many requests"
    assert page_in(b"PK\x03\x04" + bytes(100)) is None
    assert page_in(b"") is None


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error_and_quoted_in_printable_words(head: bytes) -> None:
    words = page_in(head)
    assert words is None or (words.isprintable() and len(words) <= 100)
