"""The command lines of the programs for developers: no option is abbreviated, repeated or ignored."""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from infra.arguments import ArgumentParser, positive_number, share, whole_number

ROOT = Path(__file__).parents[2]
BUILD, BENCH, COST, WIRE, SOAK = (
    "infra.build",
    "bench.__main__",
    "bench.cost",
    "tests.fault_injection.__main__",
    "tests.fault_injection.soak",
)
MODEL = "tests.model.__main__"
STRIPE = "testkit.fake_stripe_server"


@pytest.mark.parametrize(
    ("program", "words", "sentence"),
    [
        (BUILD, ["--with"], "--with is unknown; `python -m infra.build --help` lists what is accepted"),
        (BUILD, ["--out", "a", "--out", "b"], "--out is given twice; give it once"),
        (BENCH, ["nightly", "polite", "nightly"], "nightly is named more than once; name each section once"),
        (BENCH, ["nightly", "--quick"], "--quick is unknown"),
        (COST, ["--sessions", "50"], "--sessions is unknown"),
        (MODEL, ["--trace", "--workers", "2"], "--workers is for many histories; --trace plays one"),
        (MODEL, ["--nights", "0"], "--nights: must be a whole number of 1 or more"),
        (MODEL, ["--workers", "0"], "--workers: must be a whole number of 1 or more"),
        (MODEL, ["--night", "3"], "--night is unknown"),
        (
            WIRE,
            ["--rates", "0", "--kill-seconds", "2"],
            "--kill-seconds is for a storm; give --rates one above 0",
        ),
        (WIRE, ["--rates", "0", "--enough", "0.5"], "--enough is for a storm"),
        (WIRE, ["--rates", "0.3", "0.3"], "--rates: two are the same to the percent"),
        (WIRE, ["--rates", "30"], "--rates: must be a number from 0 to 1"),
        (WIRE, ["--enough", "nan"], "--enough: must be a number from 0 to 1"),
        (WIRE, ["--sessions", "99"], "--sessions: must be a whole number of 100 or more"),
        (WIRE, ["--storm-seconds", "-1"], "--storm-seconds: must be a number above 0"),
        (SOAK, ["--minutes", "0"], "--minutes: must be a number above 0"),
        (SOAK, ["--minutes", "inf"], "--minutes: must be a number above 0"),
        (SOAK, ["--minute", "1"], "--minute is unknown"),
        (STRIPE, ["--api-key-env", "KEY", "--shop", "a"], "--shop is unknown"),
    ],
)
def test_program_refuses_an_option_that_it_would_not_use(program, words, sentence, capsys):
    with pytest.raises(SystemExit) as refused:
        importlib.import_module(program).main(words)
    assert refused.value.code == 2
    assert sentence in capsys.readouterr().err


def test_storm_refuses_a_folder_that_is_in_use(tmp_path, capsys):
    (tmp_path / "30%").mkdir()
    with pytest.raises(SystemExit):
        importlib.import_module(WIRE).main(["--rates", "0.3", "--home", str(tmp_path)])
    assert f"--home: {tmp_path / '30%'} is there already; name a new folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "tests.model.interleavings", "--quick"],
        ["-m", "tests.fault_injection.proxy", "--dynamodb=a", "--sqs=b", "--invocations=c", "--quick"],
        ["testkit/emulator/guard.py", "--detached", "--quick"],
    ],
)
def test_program_without_options_refuses_one(command):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {1, 2}
    assert "--quick" in done.stderr
    assert "Traceback" not in done.stderr


def test_parser_can_be_used_twice():
    parser = ArgumentParser()
    parser.add_argument("--seed")
    assert [parser.parse_args(["--seed", "1"]).seed for _ in range(2)] == ["1", "1"]


@pytest.mark.parametrize("option", [["--old"], ["--old", "x"], ["--old=x"]])
def test_refused_option_is_hidden_and_named(option, capsys):
    parser = ArgumentParser()
    parser.add_refused("--old", "is gone; use --new")
    with pytest.raises(SystemExit):
        parser.parse_args(option)
    assert "--old is gone; use --new" in capsys.readouterr().err
    assert "--old" not in parser.format_help()


@pytest.mark.parametrize("text", ["0", "11", "-1", "1.5", "", "one", "\u0661"])
def test_number_outside_its_range_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="whole number from 1 to 10"):
        whole_number(1, 10)(text)


def test_number_inside_its_range_is_accepted():
    assert (whole_number(1, 10)("10"), whole_number(1)("11")) == (10, 11)
    assert (share("0"), share("1"), positive_number("0.5")) == (0, 1, 0.5)
