import copy

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from corpus_db.errors import UserError
from vlt import backbones
from vlt.backbones import MEAN, NAMES, STD, swin, vit
from vlt.backbones.swin import Reorder, shift_mask, window_order
from vlt.backbones.vit import resized

NANO = ("resnet_nano", "vit_nano", "swin_nano")
# sizes that Swin's windows do and do not divide, and an odd number of its cells
CASES = [("swin_t", 224), ("swin_t", 116), ("vit_b_16", 224), ("resnet18", 224), ("resnet50", 98), ("resnet101", 64)]


def reference(name):
    """torchvision's model with weights that leave no term unused; ResNet's norms scaled down, else values explode."""
    torch.manual_seed(0)
    if name == "vit_b_16":
        model = torchvision.models.VisionTransformer(224, 16, 2, 12, 192, 768, num_classes=2)
    elif name == "swin_t":
        model = torchvision.models.SwinTransformer([4, 4], 48, [2, 2, 2, 2], [3, 6, 12, 24], [7, 7], num_classes=2)
    else:
        model = getattr(torchvision.models, name)(weights=None, num_classes=2)
    for parameter_name, parameter in model.named_parameters():
        if parameter.ndim == 1 or "bias_table" in parameter_name or "pos_embedding" in parameter_name:
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2.0)
            part.weight.data.mul_(0.4)
    return model.eval()


@pytest.fixture
def smaller(monkeypatch):
    """swin_t and vit_b_16 as `reference` has them: narrower, and with fewer of the layers that are all alike."""
    monkeypatch.setitem(swin.SIZES["swin_t"], "width", 48)
    monkeypatch.setitem(swin.SIZES["swin_t"], "depths", (2, 2, 2, 2))
    monkeypatch.setitem(vit.SIZES["vit_b_16"], "width", 192)
    monkeypatch.setitem(vit.SIZES["vit_b_16"], "depth", 2)


def tokens_of(model, x):
    """What torchvision computes before pooling, as (B, N, C)."""
    if isinstance(model, torchvision.models.SwinTransformer):
        return model.norm(model.features(x)).flatten(1, 2)
    if isinstance(model, torchvision.models.VisionTransformer):
        x = model._process_input(x)
        return model.encoder(torch.cat([model.class_token.expand(len(x), -1, -1), x], dim=1))[:, 1:]
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = layer(x)
    return x.flatten(2).transpose(1, 2)


def with_gradient(model, run, x, upstream):
    """Output, gradient of the input, gradient of the first layer's weight."""
    x = x.clone().requires_grad_()
    out = run(x)
    out.backward(upstream.to(out.dtype))
    first = next(parameter for name, parameter in model.named_parameters() if parameter.ndim == 4)
    return out.detach(), x.grad, first.grad


def error(given, exact):
    return float((given.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("name,size", CASES)
def test_with_torchvisions_weights_features_and_gradients_are_torchvisions(smaller, name, size):
    theirs = reference(name)
    ours = backbones.build(name, size)
    backbones.load_torchvision(ours, theirs.state_dict())
    ours.eval()
    x = torch.randn(1, 3, size, size)
    upstream = torch.randn_like(ours(x))
    exact_model = copy.deepcopy(theirs).double()
    exact = with_gradient(exact_model, lambda x: tokens_of(exact_model, x), x.double(), upstream)
    plain = with_gradient(theirs, lambda x: tokens_of(theirs, x), x, upstream)
    own = with_gradient(ours, ours, x, upstream)
    for given, peer, true in zip(own, plain, exact, strict=True):
        assert error(given, true) <= 3 * error(peer, true) + 1e-9


@pytest.mark.parametrize("name,size", [("swin_t", 64), ("vit_b_16", 224), ("resnet18", 75)])
@pytest.mark.parametrize("channels", [1, 3])
def test_folded_weights_see_grey_images_as_torchvision_sees_them_normalised_in_three_colours(
    smaller, name, size, channels
):
    theirs = reference(name)
    ours = backbones.build(name, size, channels=channels)
    backbones.load_torchvision(ours, theirs.state_dict(), fold=True)
    pixels = torch.rand(1, 1, size, size)
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        expected = tokens_of(theirs, normalise(pixels.expand(-1, 3, -1, -1)))
        given = ours.eval()(((pixels - MEAN) / STD).expand(-1, channels, -1, -1))
    assert error(given, expected.double()) < 1e-5


def test_places_resized_to_their_own_grid_stay_and_to_another_keep_a_ramp():
    side, width = 14, 3
    table = torch.linspace(-1, 1, side)[:, None, None].expand(side, side, width).reshape(1, side * side, width)
    places = torch.cat([torch.full((1, 1, width), 9.0), table], dim=1)
    assert torch.equal(resized(places, (side, side)), places)
    other = resized(places, (20, 20))
    assert other.shape == (1, 401, width) and torch.equal(other[:, 0], places[:, 0])
    rows = other[0, 1:, 0].view(20, 20)
    assert (rows.diff(dim=0) > 0).all() and torch.allclose(rows, rows[:, :1].expand(-1, 20), atol=1e-5)


def test_vit_weights_of_224_load_at_another_size(smaller):
    ours = backbones.build("vit_b_16", 96)
    backbones.load_torchvision(ours, reference("vit_b_16").state_dict())
    assert ours(torch.rand(1, 3, 96, 96)).shape == (1, 36, 192)


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(torchvision.models, name)])
def test_every_size_has_the_weights_of_torchvisions(name):
    with torch.device("meta"):
        backbones.load_torchvision(backbones.build(name), getattr(torchvision.models, name)(weights=None).state_dict())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels,size", [(1, 96)])
def test_the_grid_and_width_are_what_comes_out(name, channels, size):
    with torch.device("meta"):
        model = backbones.build(name, size, channels=channels)
        out = model(torch.empty(2, channels, size, size))
    assert out.shape == (2, model.grid[0] * model.grid[1], model.width)


def seen_by(model, size, row, column):
    """Which cells of the first two blocks' map change when a pixel does: (cells, cells) bool."""
    x, side, window = torch.zeros(1, 1, size, size), size // 4, 8
    other = x.clone()
    other[0, 0, row, column] = 1.0
    maps = []
    for given in (x, other):
        y = model.patch_norm(model.patches(given).flatten(2).transpose(1, 2))
        maps.append([])
        for enter, block, shift in zip(model.orders, model.stages[0], (0, window // 2), strict=False):
            y = block(enter(y))
            cells = Reorder(window_order(side, window, shift), np.arange(side * side))(y)
            maps[-1].append(cells.unflatten(1, (side, side)))
    return [(one != two).any(-1)[0] for one, two in zip(*maps, strict=True)]


@pytest.fixture
def patches(monkeypatch):
    """swin_nano with plain patches: its stem's norms would carry a changed pixel everywhere."""
    monkeypatch.setitem(swin.SIZES["swin_nano"], "conv_stem", False)


def test_a_changed_pixel_changes_its_window_and_with_the_shift_its_neighbours(patches):
    torch.manual_seed(0)
    model = backbones.build("swin_nano", 128, channels=1).eval()  # 32 x 32 cells in windows of 8, shifted by 4
    first, second = seen_by(model, 128, 40, 70)  # cell 10, 17: window 1, 2
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[8:16, 16:24] = True
    assert torch.equal(first, expected)
    expected[4:20, 12:28] = True
    assert torch.equal(second, expected)


def test_a_shift_never_joins_opposite_borders(patches):
    torch.manual_seed(0)
    model = backbones.build("swin_nano", 128, channels=1).eval()
    _, second = seen_by(model, 128, 0, 0)
    assert second[:12, :12].any() and not second[16:].any() and not second[:, 16:].any()


def test_where_windows_do_not_divide_a_map_padding_lies_at_its_end(patches):
    torch.manual_seed(0)
    model = backbones.build("swin_nano", 80, channels=1).eval()  # 20 cells padded to 24
    _, second = seen_by(model, 80, 79, 79)
    assert not second[:12].any() and not second[:, :12].any() and second[12:, 12:].all()


def test_reordering_is_undone_by_its_gradient_and_loses_what_only_padding_holds():
    there, back = window_order(10, 7, 3), np.arange(100)  # 100 cells padded to 14 x 14
    x = torch.randn(2, 100, 3, dtype=torch.float64, requires_grad=True)
    y = Reorder(back, there)(x)
    assert y.shape == (2, 196, 3) and torch.equal(Reorder(there, back)(y), x)
    assert (y.detach()[:, torch.from_numpy(there) < 0] == 0).all()
    assert torch.autograd.gradcheck(Reorder(back, there), x) and torch.autograd.gradcheck(Reorder(there, back), y)


def test_every_cell_may_attend_to_itself_under_the_shift_mask():
    mask = shift_mask(24, 8, 4)
    assert (mask.diagonal(dim1=1, dim2=2) == 0).all()
    assert torch.equal(mask, mask.transpose(1, 2))


@pytest.mark.parametrize("name", NANO)
def test_every_parameter_gets_a_gradient(name):
    model = backbones.build(name, 64, channels=1)
    (model(torch.randn(2, 1, 64, 64)) ** 2).sum().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", NANO)
def test_checkpointing_changes_no_gradient_and_no_running_mean(name):
    grads = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = backbones.build(name, 64, channels=1, checkpointing=checkpointing).train()
        torch.manual_seed(1)
        (model(torch.randn(2, 1, 64, 64)) ** 2).sum().backward()
        buffers = [buffer for key, buffer in model.named_buffers() if "running" in key]
        grads.append([parameter.grad for parameter in model.parameters()] + buffers)
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize("name", NANO)
def test_it_compiles_without_a_graph_break(name):
    model = backbones.build(name, 64, channels=1).eval()
    x = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(x), model(x))


@pytest.mark.parametrize("name", NANO)
def test_no_tensor_stays_on_the_cpu_when_the_model_goes_to_cuda(name):
    model = backbones.build(name, 64, channels=1).eval()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        for part in model.modules():
            for store in (part._parameters, part._buffers):
                for key, tensor in store.items():
                    if tensor is not None:
                        moved = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
                        store[key] = nn.Parameter(moved, False) if store is part._parameters else moved
        assert model(torch.empty(2, 1, 64, 64, device="cuda")).device.type == "cuda"


@pytest.mark.parametrize(
    "change,named",
    [
        (lambda state: state.pop("features.1.0.attn.qkv.bias"), "stages.0.0.attention.qkv.bias"),
        (lambda state: state.update({"norm.weight": torch.zeros(5)}), "norm.weight is [5] where [384]"),
        (lambda state: state.clear(), "weights: no"),
    ],
)
def test_weights_that_do_not_fit_are_named(smaller, change, named):
    state = reference("swin_t").state_dict()
    change(state)
    with pytest.raises(UserError) as raised:
        backbones.load_torchvision(backbones.build("swin_t", 64), state)
    assert named in str(raised.value) and "\n" not in str(raised.value)


def test_a_checkpoint_file_is_loaded_and_one_that_is_none_is_named(tmp_path):
    torch.save(reference("resnet18").state_dict(), tmp_path / "resnet18.pth")
    backbones.load_file(backbones.build("resnet18", 64, channels=1), tmp_path / "resnet18.pth")
    (tmp_path / "bad.pth").write_bytes(b"junk")
    for path, named in (
        (tmp_path / "bad.pth", "not a PyTorch file of tensors alone"),
        (tmp_path / "resnet18.pth", "no layer"),
    ):
        with pytest.raises(UserError) as raised:
            backbones.load_file(backbones.build("resnet50", 64), path)
        assert named in str(raised.value) and str(path) in str(raised.value)


@pytest.mark.parametrize("name,size,named", [("swin_x", 224, "swin_x"), ("vit_b_16", 100, "100"), ("swin_t", 3, "3")])
def test_what_cannot_be_built_is_named(name, size, named):
    with pytest.raises(UserError, match=named):
        backbones.build(name, size)
