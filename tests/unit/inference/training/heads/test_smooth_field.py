"""Smooth fields: trilinear, as rough as asked for, as large as asked for."""

import numpy as np

from inference.training.heads.smooth_field import interpolated, smooth_field


def test_a_linear_field_stays_linear() -> None:
    nodes = np.add.outer(np.add.outer(np.arange(4.0), 10 * np.arange(5.0)), 100 * np.arange(6.0)).astype(np.float32)
    field = interpolated(nodes, (7, 9, 11))
    z, y, x = (np.linspace(0.5, n - 1.5, size) for n, size in zip(nodes.shape, field.shape, strict=True))
    wanted = np.add.outer(np.add.outer(z, 10 * y), 100 * x)
    assert field.dtype == np.float32
    assert np.allclose(field, wanted, rtol=1e-5)


def test_more_nodes_make_a_rougher_field() -> None:
    rough, smooth = (smooth_field(np.random.default_rng(1), (40, 40, 40), nodes, 1.0) for nodes in (16, 3))
    assert np.abs(np.diff(rough, axis=2)).mean() > 2 * np.abs(np.diff(smooth, axis=2)).mean()


def test_the_deviation_scales_the_field() -> None:
    one, three = (smooth_field(np.random.default_rng(1), (20, 20, 20), 5, deviation) for deviation in (1.0, 3.0))
    assert np.allclose(three, 3 * one, atol=1e-5)
    assert not smooth_field(np.random.default_rng(1), (20, 20, 20), 5, 0.0).any()
    many = smooth_field(np.random.default_rng(2), (60, 60, 60), 30, 1.0)
    assert 0.4 < many.std() < 1.0
    assert abs(many.mean()) < 0.05
