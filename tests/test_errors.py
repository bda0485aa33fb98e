"""Messages speak of the command line or of Python, and a notebook shows no traceback."""

import pytest

import zoo
from zoo.errors import InputError, command_line, for_caller


@pytest.mark.parametrize(
    ("message", "typed", "called"),
    [
        ("Add --size 64 (size=64).", "Add --size 64.", "Add size=64."),
        ("leave out --skip-damaged (skip_damaged=True)", "--skip-damaged", "skip_damaged=True"),
        ("--data x --size 9 (data='x', size=9) or", "--data x --size 9 or", "data='x', size=9 or"),
        ("add --set rate=… (rate=…)", "add --set rate=…", "add rate=…"),
        ("leave out --set. It (a=1)", "--set. It (a=1)", "--set. It (a=1)"),
    ],
)
def test_a_message_names_the_option_or_the_argument(message, typed, called):
    assert called in str(InputError(message))
    with command_line():
        assert str(InputError(message)).endswith(typed)
    assert called in str(InputError(message))


def test_advice_is_a_command_or_a_call():
    assert for_caller("zoo list", "zoo.list_models()") == "zoo.list_models()"
    with command_line():
        assert for_caller("zoo list", "zoo.list_models()") == "zoo list"


def test_a_notebook_shows_the_line_that_called_and_the_message():
    with pytest.raises(InputError) as caught:
        zoo.load_dataset("")
    line, message = caught.value._render_traceback_()
    assert line.endswith(': zoo.load_dataset("")')
    assert message == f"InputError: {caught.value}"
