import pytest
import torch

from vlt.attention import Attention, DropPath, _aligned, attend, drop_path_rates


def plainly(q, k, v, mask=None):
    """softmax(q k^T / sqrt(d)) v, one query at a time."""
    out = torch.empty(*q.shape[:3], v.shape[3])
    allowed = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool) if mask is None else mask
    for batch in range(q.shape[0]):
        for head in range(q.shape[1]):
            for row in range(q.shape[2]):
                keys = allowed[row].nonzero()[:, 0]
                scores = k[batch, head, keys] @ q[batch, head, row] / q.shape[3] ** 0.5
                out[batch, head, row] = scores.softmax(0) @ v[batch, head, keys]
    return out


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_attend_is_the_formula(masked, learned):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 4)
    mask = torch.rand(5, 7) < 0.6 if masked else None
    if mask is not None:
        mask[:, 0] = True
    given = mask
    if learned:  # an additive mask that gradients go to, as Swin's bias
        given = torch.zeros(5, 7) if mask is None else torch.zeros(5, 7).masked_fill(~mask, float("-inf"))
        given.requires_grad_()
    torch.testing.assert_close(attend(q, k, v, given), plainly(q, k, v, mask))


def test_the_rows_of_a_learned_mask_begin_where_cuda_wants_them():
    mask = torch.randn(1, 2, 49, 49)
    assert torch.equal(_aligned(mask), mask) and _aligned(mask).stride(-2) % 8 == 0


def test_over_another_stream_is_over_itself_where_both_are_one():
    torch.manual_seed(0)
    attention, x = Attention(8, 2), torch.randn(2, 5, 8)
    torch.testing.assert_close(attention(x, x), attention(x))


def test_heads_that_do_not_divide_the_width_are_named():
    with pytest.raises(ValueError, match="width 10 is no multiple of heads 3"):
        Attention(10, 3)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    out = DropPath(0.25).train()(torch.ones(4000, 2, 3))
    values = out.flatten(1)
    assert (values == values[:, :1]).all() and values.unique().tolist() == pytest.approx([0, 4 / 3])
    assert abs(out.mean() - 1) < 0.05
    assert torch.equal(DropPath(0.25).eval()(out), out)


def test_drop_path_rises_linearly_to_the_last_block():
    assert drop_path_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert drop_path_rates(0.3, 1) == [0]
