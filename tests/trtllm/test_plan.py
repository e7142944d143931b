import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_build.dims import SIZES
from engine_build.errors import PlanError
from engine_build.gpus import GPUS, find_gpu
from engine_build.plan import Plan, budget, explain, make_plan, usable_bytes

L40, LARGE = GPUS["l40"], SIZES["large-v3"]


def bytes_of(plan: Plan) -> dict[str, int]:
    return {item.name: item.bytes for item in budget(plan)}


def test_the_plan_of_large_v3_on_an_l40() -> None:
    """Shapes that leave room for Whisper's longest prompt and the longest answer."""
    plan = make_plan("large-v3", L40, LARGE)
    assert (32, 1) == (plan.windows, plan.encoder_windows)
    assert (3000, 228, 448) == (plan.frames, plan.max_input_len, plan.max_seq_len)


def test_the_cache_is_what_its_layout_says() -> None:
    """Keys and values, 32 layers, 1280 wide, two bytes; 1500 positions in blocks of 32 are 1504."""
    items = bytes_of(make_plan("large-v3", L40, LARGE, 1))
    assert 2 * 32 * 1504 * 1280 * 2 == items["cross-attention cache"]
    assert 2 * 32 * 448 * 1280 * 2 == items["self-attention cache"]
    assert 246_415_360 + 73_400_320 == sum(v for name, v in items.items() if "cache" in name)


def test_the_weights_are_what_the_files_hold() -> None:
    """1.27 GB of encoder, and 1.95 GB of decoder with its embedding twice."""
    items = bytes_of(make_plan("large-v3", L40, LARGE))
    assert 1.27 == round(items["encoder weights"] / 1e9, 2)
    assert 1.95 == round(items["decoder weights"] / 1e9, 2)


@pytest.mark.parametrize("model", SIZES)
@pytest.mark.parametrize("gpu", GPUS)
def test_both_pools_hold_the_same_windows(gpu: str, model: str) -> None:
    """Cut at the fraction, neither cache runs out before the other, give or take a percent."""
    plan = make_plan(model, GPUS[gpu], SIZES[model])
    items = bytes_of(plan)
    pool = items["cross-attention cache"] + items["self-attention cache"]
    cross = pool * plan.cross_kv_cache_fraction / items["cross-attention cache"]
    own = pool * (1 - plan.cross_kv_cache_fraction) / items["self-attention cache"]
    assert cross == pytest.approx(1, abs=0.01)
    assert own == pytest.approx(1, abs=0.01)


@given(st.integers(1, 256), st.sampled_from(list(GPUS)), st.sampled_from(list(SIZES)))
def test_a_plan_fits_or_is_refused(windows: int, gpu: str, model: str) -> None:
    """What is planned fits; what is refused says how many windows would, and they do."""
    card = GPUS[gpu]
    try:
        plan = make_plan(model, card, SIZES[model], windows)
    except PlanError as error:
        fits = int(str(error).split("at most ")[1].split()[0])
        assert fits < windows
        make_plan(model, card, SIZES[model], fits)
        with pytest.raises(PlanError):
            make_plan(model, card, SIZES[model], fits + 1)
    else:
        assert sum(item.bytes for item in budget(plan)) <= usable_bytes(card)


def test_a_card_that_is_too_small_for_the_weights() -> None:
    """It is said that not even one window fits."""
    small = dataclasses.replace(L40, memory_mib=4_096)
    with pytest.raises(PlanError, match="not even one fits"):
        make_plan("large-v3", small, LARGE)


def test_an_unknown_card() -> None:
    """The known ones are named."""
    with pytest.raises(PlanError, match="'gtx1080'; there are l40, l40s, l4, a10"):
        find_gpu("gtx1080")


def test_the_explanation_has_every_item() -> None:
    """And the sum is the sum."""
    plan = make_plan("large-v3", L40, LARGE)
    lines = explain(plan).splitlines()
    for item in budget(plan):
        line = next(line for line in lines if line.strip().startswith(item.name))
        assert f"{item.bytes / 2**30:.2f} GiB" in line
    total = sum(item.bytes for item in budget(plan))
    assert any(line.split() == ["together", f"{total / 2**30:.2f}", "GiB"] for line in lines)
