"""Events: one line of JSON for each, appended to a file or on stderr, and never on stdout."""

from __future__ import annotations

import json
import signal

import commands
import pytest

FACES = ("--images", 12, "--size", 32, "--labels", "neutral,happy", "--color", "gray", "--workers", 0)
TRAIN = ("--source", "neutral", "--target", "happy", "--workers", 0)


def events(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    url = tmp_path_factory.mktemp("events") / "images.zarr"
    commands.succeed("generate", url, *FACES)
    return url


def test_events_are_appended_to_a_file(tmp_path):
    file = tmp_path / "events.jsonl"
    assert commands.succeed("--events", file, "generate", tmp_path / "images.zarr", *FACES).stderr == ""
    before = file.read_text()
    assert [event["event"] for event in events(before)][:1] == ["start"]
    sentence = commands.failure(
        "--events", file, "train", tmp_path / "images.zarr", tmp_path / "w.zarr", *TRAIN, "--alpha", -1
    )
    after = file.read_text()
    assert after.startswith(before)
    said = events(after.removeprefix(before))
    assert [event["event"] for event in said] == ["start", "error", "end"]
    assert said[1]["message"] == sentence.removeprefix("Error: ").strip()
    assert (said[2]["command"], said[2]["exit_code"]) == ("train", 1)
    assert len({event["pid"] for event in said}) == 1
    assert all(event["time"].endswith("+00:00") for event in said)


def test_events_on_stderr_leave_stdout_to_the_report(images, tmp_path):
    done = commands.succeed("--events", "-", "train", images, tmp_path / "w.zarr", *TRAIN, "--json")
    assert json.loads(done.stdout)["blocks_run"] == 1
    found = events(done.stderr)
    assert (found[0]["event"], found[-1]["event"], found[-1]["exit_code"]) == ("start", "end", 0)


def test_warnings_are_events(images, tmp_path):
    search = (*TRAIN, "--alpha", "cv", "--alphas", "1000,2000", "--folds", 2)
    done = commands.succeed("--events", "-", "train", images, tmp_path / "w.zarr", *search)
    warnings = [event["message"] for event in events(done.stderr) if event["event"] == "warning"]
    assert any("alpha 1000, the lower edge of the grid" in message for message in warnings)


def test_a_stop_is_told_with_the_command_at_hand(tmp_path):
    file = tmp_path / "events.jsonl"
    commands.succeed("generate", tmp_path / "images.zarr", *FACES[:2], "--size", 256, *FACES[4:])
    command = ("train", tmp_path / "images.zarr", tmp_path / "w.zarr", *TRAIN, "--block", "32,32")
    with commands.running("--events", file, *command) as process:
        commands.wait_until(lambda: commands.blocks_done(tmp_path / "w.zarr") > 1, "a block")
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=commands.SECONDS)
    assert process.returncode == 130
    assert "Stopped; what is finished is kept: run the same command again to resume." in stderr
    assert (events(file.read_text())[-1]["event"], events(file.read_text())[-1]["exit_code"]) == ("end", 130)


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
    place = tmp_path / "not" / "there"
    assert f"{place} cannot be written (No such file or directory)" in commands.failure("--events", place, "info", "x")
