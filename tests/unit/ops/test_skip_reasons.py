"""The sentences for skip reasons."""

import pytest

from ops.format.skip_reasons import describe_skip, describe_stored_skip
from recon.domain.outcome import SkipReason


@pytest.mark.parametrize("reason", SkipReason)
def test_skip_reason_has_a_sentence(reason):
    assert describe_stored_skip(reason.value) == describe_skip(reason) != reason.value


def test_sentences_of_skip_reasons_differ():
    assert len({describe_skip(reason) for reason in SkipReason}) == len(SkipReason)


def test_skip_reason_of_another_version_is_shown_as_stored():
    assert describe_stored_skip("postponed") == "postponed"
