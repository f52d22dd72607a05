"""What names and shapes show, and how it becomes part of a request."""

from fnmatch import fnmatchcase

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq.v1 import compression_pb2 as pb
from ellq_client.enclosures import Enclosures
from ellq_client.fitting import fitted
from ellq_client.formats.layouts import Layout, globs_of
from ellq_client.formats.names import layouts_by_name
from ellq_client.requests import Override, Request
from ellq_client.rules import Fraction
from ellq_client.sources import open_source

RULE = Fraction(pruned_ratio=0.5)


def told(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...] | None]:
    """Return the axes of every layout by name, None for tensors that are left alone."""
    return {name: None if one.left_alone else one.neuron_axis for name, one in layouts_by_name(shapes).items()}


def test_conv1d_of_hugging_face_is_known_by_its_biases():
    shapes = {
        "h.0.attn.c_attn.weight": (8, 24),
        "h.0.attn.c_attn.bias": (24,),
        "h.0.attn.c_proj.weight": (8, 8),
        "h.0.attn.c_proj.bias": (8,),
        "h.0.mlp.c_fc.weight": (8, 32),
        "h.0.mlp.c_fc.bias": (32,),
        "h.0.mlp.c_proj.weight": (32, 8),
        "h.0.mlp.c_proj.bias": (8,),
        "score.weight": (2, 8),
    }
    assert told(shapes) == dict.fromkeys([name for name in shapes if "c_" in name and "weight" in name], (1,))


def test_linear_layers_of_the_same_names_are_none():
    shapes = {"h.0.attn.c_attn.weight": (24, 8), "h.0.attn.c_attn.bias": (24,), "h.0.attn.c_proj.weight": (8, 8)}
    assert told(shapes) == {}


def test_transposed_convolutions():
    shapes = {"up.weight": (8, 4, 2, 2), "up.bias": (4,), "deconv1.weight": (4, 4, 3), "conv.weight": (4, 4, 3)}
    assert told(shapes) == {"up.weight": (1,), "deconv1.weight": (1,)}


@pytest.mark.parametrize(
    ("gate_up", "down", "axes"), [((3, 8, 24), (3, 12, 8), (0, 2)), ((3, 24, 8), (3, 8, 12), (0, 1)), ((3, 8, 8), None, (0, 1))]
)
def test_stacked_experts(gate_up, down, axes):
    shapes = {"mlp.experts.gate_up_proj": gate_up} | ({} if down is None else {"mlp.experts.down_proj": down})
    assert set(told(shapes).values()) == {axes}


@pytest.mark.parametrize(
    "name",
    [
        "blk.0.attn_norm.weight",
        "ln_1.weight",
        "encoder.LayerNorm.weight",
        "layers.0.norm2.weight",
        "bn1.bias",
        "conv.weight_g",
        "conv.parametrizations.weight.original0",
        "relative_attention_bias.weight",
        "mask_token",
        "token_embd.weight",
    ],
)
def test_norms_biases_and_tables_are_left_alone(name):
    assert told({name: (4, 4)}) == {name: None}
    assert told({name: (4,)}) == {}


@pytest.mark.parametrize(
    "name",
    [
        "norm1.linear.weight",
        "embeddings.token_type_embeddings.weight",
        "fc.weight",
        "weight_v",
        "unbiased.weight",
        "plain.weight",
    ],
)
def test_weights_are_not_and_of_tables_that_the_service_knows_nothing_is_said(name):
    assert told({name: (4, 4)}) == {}


def test_kernels_of_keras_and_flax():
    assert told({"params/Dense_0/kernel": (4, 8), "conv/kernel:0": (3, 3, 4, 8)}) == {
        "params/Dense_0/kernel": (1,),
        "conv/kernel:0": (3,),
    }


LAYOUTS = st.sampled_from([None, Layout("a", (1,)), Layout("b", (1,)), Layout("c", left_alone=True)])


@given(st.dictionaries(st.text("a1.[*?]", min_size=1, max_size=6), LAYOUTS, max_size=12))
def test_globs_give_every_name_its_layout_and_no_other_any(wanted):
    layouts = {name: layout for name, layout in wanted.items() if layout is not None}
    globs = globs_of(layouts, wanted)
    for name in wanted:
        matched = [layout for glob, layout in globs.items() if fnmatchcase(name, glob)]
        assert bool(matched) == (name in layouts)
        assert all(layout.same_treatment(layouts[name]) for layout in matched)


def test_a_thousand_layers_take_a_few_globs():
    layouts = {f"h.{layer}.{kind}": Layout("x", (1,)) for layer in range(1000) for kind in ("a", "b")}
    assert set(globs_of(layouts, [*layouts, "h.1.c"])) == {"h.*.a", "h.*.b"}


ARRAYS = {"fc.kernel": np.ones((4, 4)), "bn.weight": np.ones((4, 4)), "steps": np.ones((2, 2), np.int64), "w": np.ones((2, 2))}


def overrides(network: pb.Network | None = None, **asked: object) -> list[Override]:
    request = Request(rule=RULE, **asked)
    return list(fitted(request, open_source(ARRAYS), Enclosures(network=network)).overrides)


def test_what_the_caller_says_wins():
    kernel, norm = Override("fc.kernel", neuron_axis=(1,)), Override("bn.weight", skip=True)
    assert overrides() == [norm, kernel] or overrides() == [kernel, norm]
    assert overrides(include=["bn*"]) == [kernel]
    mine = Override("*", rule=RULE, neuron_axis=(0,))
    assert overrides(overrides=[mine]) == [mine]
    assert overrides(overrides=[Override("fc*", skip=True)])[-1] == Override("fc*", skip=True)


def test_what_a_network_describes_needs_no_layout():
    network = pb.Network()
    network.topology.nodes.add(name="fc").linear.weight = "fc.kernel"
    assert overrides(network) == [Override("bn.weight", skip=True)]
