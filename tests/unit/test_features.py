import numpy as np

from server.audio.features import N_SAMPLES, log_mel, mel_filters


def _sine(hertz: float, seconds: float) -> np.ndarray:
    time = np.arange(int(16_000 * seconds)) / 16_000
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def test_shape_and_dtype_are_what_the_encoder_expects() -> None:
    """Any length up to 30 s gives float32 (n_mels, 3000)."""
    for seconds in (0.01, 1.0, 29.99, 30.0):
        for n_mels in (80, 128):
            features = log_mel(_sine(440, seconds), n_mels)
            assert ((n_mels, 3000), np.float32) == (features.shape, features.dtype)


def test_a_tone_lights_up_its_own_mel_band() -> None:
    """The loudest band of a sine is the one whose filter covers its frequency."""
    for hertz in (200, 1_000, 3_000):
        band = int(log_mel(_sine(hertz, 5.0), 80)[:, :400].mean(axis=1).argmax())
        bins = np.flatnonzero(mel_filters(80)[band]) * 40
        assert bins.min() - 40 <= hertz <= bins.max() + 40


def test_range_is_two_wide_and_padding_is_its_floor() -> None:
    """Values span at most 8 / 4, and what is padded is the quietest."""
    features = log_mel(_sine(440, 3.0), 80)
    assert features.max() - features.min() <= 2.0 + 1e-6
    assert np.all(features[:, 400:] == features.min())


def test_padding_by_hand_changes_nothing() -> None:
    """Zeros appended by the caller give the same features as the zeros added inside."""
    tone = _sine(300, 2.0)
    padded = np.concatenate([tone, np.zeros(N_SAMPLES - len(tone), dtype=np.float32)])
    np.testing.assert_allclose(log_mel(tone, 80), log_mel(padded, 80), atol=1e-6)


def test_filters_have_unit_area() -> None:
    """Each triangle's area over frequency is 1, so that bands can be compared."""
    wide = mel_filters(80)[60:]  # the narrow ones are sampled too coarsely
    np.testing.assert_allclose(wide.sum(axis=1) * 40.0, 1.0, rtol=0.05)
