"""What PyTorch expects of an operator: opcheck, compile, export, autocast, counts."""

import pytest
import torch
from helpers.op_samples import OUTSIDES, channels_last, creff_parameters, error, randn, samples, vectors
from torch.utils.flop_counter import FlopCounterMode

import arseg_ext
from arseg_ext import ops, oracle

ALL = samples()
FIELD = {"block": 16, "frame_size": (40, 56)}


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(ALL)), ids=[f"{i}-{sample}" for i, sample in enumerate(ALL)])
def test_opcheck(index):
    sample = ALL[index]
    torch.library.opcheck(sample.overload, sample.args, sample.kwargs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_opcheck_schema_and_fake_for_each_dtype(dtype):
    for sample in samples(dtype, grad=False):
        torch.library.opcheck(
            sample.overload, sample.args, sample.kwargs, test_utils=("test_schema", "test_faketensor")
        )


def test_every_operator_has_a_sample():
    registered = {
        name.split("::")[1].split(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("arseg::")
    }
    facts = {"_build_config", "_messages", "_use_cpu_capability", "_most_running_threads"}
    assert registered - facts == {sample.op for sample in ALL}


def test_the_faces_take_the_same_arguments():
    import inspect

    for name in ops.__all__:
        schema = getattr(torch.ops.arseg, name).default._schema
        face = dict(inspect.signature(getattr(ops, name)).parameters)
        if name == "creff":  # the operator itself changes nothing
            del face["out"]
        arguments = [each for each in schema.arguments if each.name != "allow_tf32"]  # which is torch's own switch
        assert [argument.name for argument in arguments] == list(face)
        assert [argument.kwarg_only for argument in arguments] == [
            parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in face.values()
        ]
        for argument in arguments:
            default = face[argument.name].default
            if argument.has_default_value():
                expected = argument.default_value
                assert default == (expected[0] if isinstance(expected, list) else expected)
            else:
                assert default is inspect.Parameter.empty


def network(reference_map, low, flow, motion, *parameters):
    """All four operators, with sizes taken from the inputs."""
    height, width = reference_map.shape[2:]
    warped = ops.mv_warp(reference_map, motion, block=16, frame_size=(8 * height, 8 * width))
    warped = warped + ops.flow_warp(reference_map, flow, grid="legacy")
    attended = ops.local_attention(warped, reference_map, warped, window=(3, 5), outside="masked", scale=0.1)
    fused = ops.creff(attended, low, motion, *parameters, window=3, block=16, frame_size=(8 * height, 8 * width))
    return fused * 2


def network_inputs(height, width, batch=2):
    maps = [
        randn(batch, 3, height, width, dtype=torch.float32),
        randn(batch, 3, height // 2, width // 2, dtype=torch.float32),
    ]
    flow = randn(batch, height, width, 2, dtype=torch.float32)
    motion = vectors(batch, -(-height // 2), -(-width // 2), 2)
    return [*maps, flow, motion, *creff_parameters(3, torch.float32)]


def compare_compiled(compiled, sizes):
    for height, width, batch in sizes:
        inputs = network_inputs(height, width, batch)
        leaves = [[t.clone().requires_grad_(t.is_floating_point()) for t in inputs] for _ in range(2)]
        mine, eager = compiled(*leaves[0]), network(*leaves[1])
        assert error(mine, eager) < 1e-5
        mine.square().sum().backward()
        eager.square().sum().backward()
        for a, b in zip(*leaves, strict=True):
            if a.is_floating_point():
                assert error(a.grad, b.grad) <= 1e-5 * max(1.0, float(b.grad.abs().max()))


@pytest.mark.slow
def test_compile_without_graph_breaks_and_with_dynamic_shapes():
    torch.compiler.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=True)
    compare_compiled(compiled, [(6, 8, 2), (10, 12, 3)])
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    compare_compiled(compiled, [(14, 70, 2)])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before  # no recompilation for a new size


@pytest.mark.slow
def test_compile_with_inductor():
    torch.compiler.reset()
    feature, motion = randn(1, 3, 5, 7, dtype=torch.float32), vectors(1, 3, 4, 2)

    def run(feature):
        # Only our operators: a fused loop would need a C++ compiler run, which is most of the time.
        warped = ops.mv_warp(feature, motion, **FIELD)
        return ops.local_attention(feature, warped, warped, window=3)

    with torch.no_grad():
        out = torch.compile(run, fullgraph=True)(channels_last(feature))
        assert error(out, run(feature)) < 1e-5


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fusion = arseg_ext.CReFF(3, window=3)
        self.warp = arseg_ext.MVWarp(16)
        self.attention = arseg_ext.LocalAttention((3, 5))

    def forward(self, reference_map, low, motion):
        fused = self.fusion(reference_map, low, motion, block=16, frame_size=(48, 64))
        warped = self.warp(reference_map, motion, frame_size=(48, 64))
        return self.attention(fused, warped, fused)


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True])
def test_export(strict):
    net = Net().eval()
    inputs = (randn(2, 3, 6, 8, dtype=torch.float32), randn(2, 3, 3, 4, dtype=torch.float32), vectors(2, 3, 4, 2))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, inputs, dynamic_shapes=({0: batch}, {0: batch}, {0: batch}), strict=strict)
    more = tuple(torch.cat([tensor, tensor, tensor]) for tensor in inputs)
    assert error(program.module()(*more), net(*more)) < 1e-6
    lowered = program.run_decompositions()
    targets = {str(node.target) for node in lowered.graph.nodes if node.op == "call_function"}
    assert {"arseg.mv_warp.default", "arseg.local_attention.default", "arseg.creff.default"} <= targets


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_attention_and_leaves_warps(dtype):
    query, key, value = (randn(1, 3, 5, 6, seed=seed, dtype=torch.float32) for seed in range(3))
    flow, motion = randn(1, 5, 6, 2, dtype=torch.float32), vectors(1, 3, 4, 2)
    cast = [tensor.to(dtype) for tensor in (query, key, value)]
    with torch.autocast("cpu", dtype=dtype):
        for inputs in ((query, key, value), (query, cast[1], value)):
            out = ops.local_attention(*inputs, window=3)
            assert torch.equal(out, torch.ops.arseg.local_attention(*inputs, window=3))
            assert out.dtype == dtype
        assert torch.equal(out, ops.local_attention(*cast, window=3))
        assert ops.local_attention(*(t.double() for t in (query, key, value)), window=3).dtype == torch.float64
        for feature in (query, cast[0]):
            assert ops.flow_warp(feature, flow).dtype == feature.dtype
            assert ops.mv_warp(feature, motion, **FIELD).dtype == feature.dtype
        warped = ops.flow_warp(query, flow)
        parameters = creff_parameters(3, torch.float32)
        fused = ops.creff(query, value, motion, *parameters, window=3, **FIELD)
    assert torch.equal(warped, ops.flow_warp(query, flow))
    expected = oracle.creff(query, value, motion, *parameters, window=3, **FIELD)
    assert error(fused, expected) < 0.2
    query.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        ops.local_attention(query, key, value, window=3).float().sum().backward()
    assert query.grad.dtype == torch.float32


def test_autocast_under_compile():
    torch.compiler.reset()
    maps = [randn(1, 3, 5, 6, seed=seed, dtype=torch.float32) for seed in range(3)]

    def run(*maps):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return ops.local_attention(*maps, window=3)

    out = torch.compile(run, backend="aot_eager", fullgraph=True)(*maps)
    assert out.dtype == torch.bfloat16 and torch.equal(out, run(*maps))


@pytest.mark.parametrize("outside", OUTSIDES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_flop_counter_counts_attention_and_depthwise_convolutions(mode, outside):
    inputs = (randn(2, 3, 8, 10), randn(2, 3, 4, 5), vectors(2, 4, 5, 2), *creff_parameters(3))
    pixels = 2 * 8 * 10
    attention = 2 * pixels * 49 * (3 + 3)
    convolutions = 3 * 2 * pixels * 9 * 3
    options = {"outside": outside, "block": 16, "frame_size": (64, 80)}
    with mode(), FlopCounterMode(display=False) as counter:
        ops.creff(*inputs, **options)
    assert counter.get_total_flops() == attention + convolutions
    for leaf in inputs[3:]:
        leaf.requires_grad_()
    with mode(), FlopCounterMode(display=False) as counter:
        ops.creff(*inputs, **options)
    assert counter.get_total_flops() == attention + convolutions


def test_flop_counter_counts_the_backward():
    maps = [randn(1, 4, 5, 6, seed=seed).requires_grad_() for seed in range(3)]
    with FlopCounterMode(display=False) as counter:
        ops.local_attention(*maps, window=(3, 5)).sum().backward()
    assert counter.get_total_flops() == 2 * 30 * 15 * (4 + 4) + 2 * 30 * 15 * (3 * 4 + 2 * 4)


def test_meta_tensors_give_shapes():
    feature = torch.empty(2, 3, 8, 10, device="meta", dtype=torch.bfloat16)
    motion = torch.empty(2, 4, 5, 2, device="meta", dtype=torch.int16)
    flow = torch.empty(2, 8, 10, 2, device="meta")
    outs = [
        ops.mv_warp(feature, motion, block=16, frame_size=(64, 80)),
        ops.flow_warp(feature, flow),
        ops.local_attention(feature, feature, feature, window=7),
        arseg_ext.CReFF(3, window=3).to("meta", torch.bfloat16)(feature, feature[..., ::2, ::2], flow),
    ]
    for out in outs:
        assert out.is_meta and out.shape == feature.shape and out.dtype == feature.dtype


def test_parameters_have_the_published_names():
    module = arseg_ext.CReFF(4)
    assert set(module.state_dict()) == {
        f"{name}.{kind}" for name in ("lr_query_conv", "hr_key_conv", "hr_value_conv") for kind in ("weight", "bias")
    }
