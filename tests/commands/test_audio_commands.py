"""Commands with a model of sounds: training, samples and errors."""

import wave

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.shell import TESTS, assert_refused, here

import zoo
from zoo.runs.folder import Run

HISS = f"{TESTS / 'support' / 'toys.py'}:Hiss"
SAMPLES, RATE = 400, 8000


def read(path):
    """Returns the samples of a .wav of 16 bits, from -1 to 1."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767.0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with sounds and a finished run in ./run, and the output of training."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    (folder / "sounds").mkdir()
    for k in range(20):
        with wave.open(str(folder / "sounds" / f"{k}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(rng.integers(-8000, 8000, SAMPLES + k).astype("<i2").tobytes())
    data = ("--data", "./sounds", "--length", SAMPLES)
    result = here("train", HISS, *data, "--epochs", 1, "--run", "run", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    return folder, result.stdout


def test_training_on_sounds(trained):
    folder, output = trained
    assert output.startswith("sounds: 16/2/2 sounds 400x1, 65536 levels, 0.05 s at 8000 Hz")
    assert "1 epoch of 4 steps of 4 sounds" in output
    run = Run(folder / "run")
    assert run.recipe["data"] | {"length": SAMPLES, "rate": RATE} == run.recipe["data"]
    pause = round(0.2 * RATE)
    sounds = read(run.samples / "step-00000004.wav").reshape(64, SAMPLES + pause)
    assert np.abs(sounds[:, :SAMPLES]).max(axis=1).min() > 0.1
    assert not sounds[:, SAMPLES:].any()
    with Image.open(run.samples / "step-00000004.spectrogram.png") as image:
        assert min(image.size) > 100
    assert "run/samples/step-00000004.wav" in output


def test_tensorboard_can_read_the_sounds(trained):
    run = Run(trained[0] / "run")
    for record in tf.data.TFRecordDataset([str(path) for path in sorted(run.events.iterdir())]):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            if value.tag == "samples":
                audio = value.audio
    assert audio.sample_rate == RATE
    sound, rate = tf.audio.decode_wav(audio.encoded_audio_string)
    assert rate == RATE
    assert sound.shape[0] > 64 * SAMPLES


def test_samples_are_written_as_sound(trained, tmp_path):
    folder, _ = trained
    result = here("sample", "./run", "-n", 2, "-o", tmp_path / "x.wav", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    x = zoo.load(folder / "run").sample(2, 0).numpy()
    sound = read(tmp_path / "x.wav").reshape(2, -1)
    np.testing.assert_allclose(sound[:, :SAMPLES], x[..., 0], atol=1e-4)
    assert (tmp_path / "x.spectrogram.png").exists()
    here("sample", "./run", "-n", 2, "-o", tmp_path / "all", cwd=folder)
    names = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert names == ["000000.wav", "000001.wav"]
    np.testing.assert_allclose(read(tmp_path / "all" / names[1]), x[1, :, 0], atol=1e-4)
    assert_refused(here("sample", "./run", "-o", "x.png", cwd=folder), 2, ".wav, .npz")


def test_commands_for_images_refuse_audio(trained):
    folder, _ = trained
    result = here("reconstruct", "./run", cwd=folder)
    assert_refused(result, 2, "reconstruct is not defined for", "a model of sounds, not of images")
    for metric in ("samples", "reconstructions"):
        result = here("evaluate", "./run", "--metrics", metric, cwd=folder)
        assert_refused(result, 2, f"'{metric}' is not defined for", "requires images", "audio of")
