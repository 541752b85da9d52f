"""The allow-list of architectures."""

import pytest
import torch

from inference.networks import build_network


@pytest.mark.parametrize(("filters", "size"), [([3, 4, 5], 16), ([3, 4, 5, 6], 24)])
def test_a_unet_keeps_rows_and_columns_and_gives_one_map_for_each_region(filters: list[int], size: int) -> None:
    network = build_network("tumour-unet", {"dimensions": 2, "filters": filters})
    assert network(torch.zeros(2, 4, 1, size, size * 2)).shape == (2, 3, 1, size, size * 2)


def test_an_architecture_outside_the_list_is_refused_and_the_list_is_named() -> None:
    with pytest.raises(ValueError, match=r"'os\.system'.*supports: tumour-unet, .*monai\.SegResNet"):
        build_network("os.system", {"command": "true"})


def test_settings_of_another_architecture_are_refused() -> None:
    with pytest.raises(TypeError):
        build_network("tumour-unet", {"dimensions": 2, "filters": [3, 3, 3], "depth": 3})


@pytest.mark.parametrize("filters", [[3, 3, 10**9], [3] * 100, ["$exit(3)", 3, 3]])
def test_settings_beyond_all_bounds_are_refused_before_anything_is_built(filters: list[object]) -> None:
    with pytest.raises(ValueError, match="argument filters"):
        build_network("tumour-unet", {"dimensions": 2, "filters": filters})
