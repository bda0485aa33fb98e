"""Folders of sounds: formats, rates, lengths, and errors for damaged files."""

import wave

import numpy as np
import pytest
from PIL import Image
from support.data import concatenate, take
from support.shell import here

import zoo
from zoo import render
from zoo.datasets import load_dataset
from zoo.datasets.audio import resample
from zoo.errors import InputError

RATE = 8000


def write(path, values, rate=RATE, bits=16):
    """Writes integers, [samples] or [samples, channels], to a .wav file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values)
    values = values if values.ndim == 2 else values[:, None]
    stored = values.astype(np.int64) + 128 * (bits == 8)
    content = stored.astype("<i8")[..., None].view(np.uint8)[..., : bits // 8]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(values.shape[1])
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(content.tobytes())
    return path


def noise(samples, bits=16, seed=0, channels=1):
    top = 2 ** (bits - 1)
    return np.random.default_rng(seed).integers(-top, top, (samples, channels))


def write_sounds(folder, count=20, samples=100, **form):
    for k in range(count):
        write(folder / f"{k:03}.wav", noise(samples, form.get("bits", 16), seed=k), **form)
    return folder


def sine(frequency, rate, seconds=0.5):
    return np.sin(2.0 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize(("bits", "levels"), [(8, 256), (16, 2**16)])
def test_8_and_16_bits_are_kept_exactly(tmp_path, bits, levels):
    splits = load_dataset(write_sounds(tmp_path / "noise", bits=bits))
    spec = splits.train.spec
    assert spec == zoo.Spec((100, 1), levels, "audio", rate=RATE)
    assert [len(split) for split in splits] == [16, 2, 2]
    stored = {(noise(100, bits, seed=k) + levels // 2).tobytes() for k in range(20)}
    loaded = np.concatenate([split.arrays()[0] for split in splits])
    assert {x.astype(np.int64).tobytes() for x in loaded} == stored
    x = concatenate(splits.train.batches(5))
    assert x.dtype == np.float32
    spec.check(x, "test")
    description = splits.describe()
    assert description.startswith(
        f"noise: 16/2/2 sounds 100x1, {levels} levels, 0.0125 s at 8000 Hz, no labels\n"
    )
    assert "20 files in" in description
    source = {"name": str(tmp_path / "noise"), "length": 100, "rate": RATE}
    assert splits.train.source == source
    again = load_dataset(**source)
    assert [split.fingerprint for split in again] == [split.fingerprint for split in splits]


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_every_bit_depth_gives_the_same_sound(tmp_path, bits):
    values = np.round(sine(440, RATE, 0.1) * 100).astype(np.int64)
    for k in range(20):
        write(tmp_path / f"{k}.wav", values << (bits - 8), bits=bits)
    x = concatenate(load_dataset(tmp_path).train.batches(20))
    np.testing.assert_allclose(x[0, :, 0], values / 128, atol=1 / 128)


def test_classes_channels_rates_and_lengths(tmp_path):
    for k in range(10):
        write(tmp_path / "low" / f"{k}.wav", noise(90, seed=k))
        stereo = noise(120, seed=100 + k, channels=2)
        write(tmp_path / "high" / f"{k}.wav", stereo)
    write(tmp_path / "high" / "fast.wav", noise(400, seed=7), rate=4 * RATE)
    splits = load_dataset(tmp_path, length=100)
    assert splits.train.class_names == ("high", "low")
    x, y = (np.concatenate(parts) for parts in zip(*(s.arrays() for s in splits), strict=True))
    assert x.dtype == np.uint16
    assert np.all(x[y == 1, 90:] == 2**15)  # silence
    assert not np.any(np.all(x[y == 0, 90:] == 2**15, axis=(1, 2)))
    mean = noise(120, seed=100, channels=2).mean(axis=1)[:100] + 2**15
    assert np.min(np.abs(x[..., 0] - mean).max(axis=1)) <= 1.0
    for note in (
        "channels averaged in 10 files",
        "1 files resampled to 8000 Hz from 32000",
        "100 samples each: 10 files cut at the end, 10 padded with silence",
    ):
        assert note in splits.describe()
    assert load_dataset(tmp_path, length=100, rate=4000).train.spec.rate == 4000


def test_folders_named_after_splits(tmp_path):
    for name, count in (("train", 12), ("valid", 3), ("test", 4)):
        write_sounds(tmp_path / name, count)
    assert [len(split) for split in load_dataset(tmp_path)] == [12, 3, 4]


@pytest.mark.parametrize("new_rate", [8000, 11025, 44100, 48000])
@pytest.mark.parametrize("rate", [16000, 22050])
def test_resampling_keeps_a_tone_and_removes_aliases(rate, new_rate):
    y = resample(sine(440, rate), rate, new_rate)
    assert len(y) == np.ceil(rate // 2 * new_rate / rate)
    inside = slice(new_rate // 50, -new_rate // 50)
    np.testing.assert_allclose(y[inside], sine(440, new_rate, 1)[: len(y)][inside], atol=2e-3)
    if new_rate == 8000:
        assert np.abs(resample(sine(6000, rate), rate, new_rate)[inside]).max() < 2e-3


def test_resampling_does_not_depend_on_the_chunk_size(monkeypatch):
    x = np.random.default_rng(0).normal(size=1000)
    expected = resample(x, 16000, 11025)
    monkeypatch.setattr("zoo.datasets.audio._CHUNK", 7)
    np.testing.assert_array_equal(resample(x, 16000, 11025), expected)


def test_a_folder_larger_than_memory_gives_equal_splits(tmp_path, monkeypatch):
    small = load_dataset(write_sounds(tmp_path))
    monkeypatch.setattr("zoo.datasets.assembly.MAX_BYTES_IN_MEMORY", 3999)
    large = load_dataset(tmp_path)
    assert "too large for memory" in large.describe()
    assert [s.fingerprint for s in large] == [s.fingerprint for s in small]
    streams = [take(splits.train.stream(6, 3, first_step=4), 3) for splits in (small, large)]
    np.testing.assert_array_equal(*streams)


def test_damaged_files_are_listed_or_skipped(tmp_path):
    folder = write_sounds(tmp_path / "sounds")
    path = folder / "003.wav"
    path.write_bytes(path.read_bytes()[:-20])
    (folder / "text.wav").write_text("no sound")
    write(folder / "empty.wav", noise(0))
    with pytest.raises(InputError, match=r"3 sounds in .* cannot be read.*skip_damaged") as error:
        load_dataset(folder)
    for reason in ("damaged: 003.wav", "not a WAV file: text.wav", "empty: empty.wav"):
        assert reason in str(error.value)
    splits = load_dataset(folder, skip_damaged=True)
    assert sum(map(len, splits)) == 19
    assert splits.train.source["skip_damaged"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            r"equal lengths\. To .* add length=100\. .* 2 lengths at 8000 Hz, such as",
        ),
        ({"size": 8}, "Only images have a size"),
        ({"bytes": True}, "Only texts can be read as bytes.*Received: sounds"),
    ],
)
def test_invalid_sounds_are_refused(tmp_path, options, message):
    write(write_sounds(tmp_path) / "long.wav", noise(200))
    with pytest.raises(InputError, match=message):
        load_dataset(tmp_path, **options)


def test_the_spectrogram_of_a_tone_is_a_line():
    tones = np.stack([sine(f, RATE)[:, None] for f in (1000, 3000)])
    pictures = render.spectrograms(tones)
    assert pictures.shape == (2, 129, 59, 1)
    assert pictures.max() == 1.0
    for picture, frequency in zip(pictures[..., 0], (1000, 3000), strict=True):
        assert np.all(128 - picture.argmax(axis=0) == round(frequency / RATE * 256))
        assert np.all(np.mean(picture > 0.5, axis=0) < 0.1)
    assert render.spectrograms(np.zeros((1, 5, 1))).max() == 0.0


def test_zoo_data_writes_sounds_and_their_spectrograms(tmp_path):
    folder = write_sounds(tmp_path / "sounds", samples=1000)
    result = here("data", "./sounds", "--rate", 4000, "-o", "new/x.wav", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "500x1, 65536 levels, 0.125 s at 4000 Hz" in result.stdout
    with wave.open(str(tmp_path / "new" / "x.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (4000, 16 * (500 + 800))
    with Image.open(tmp_path / "new" / "x.spectrogram.png") as image:
        assert min(image.size) > 100
    assert folder.exists()
