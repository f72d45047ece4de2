"""Processes that `ranks.joined` starts beside this one."""

import os
import signal
import time

import pytest
import torch
import torch.distributed as dist

from corpus_db.read import UserError
from vlt import device, ranks


def add_up():
    """What every process does: sums, gathers and their gradients over two ranks."""
    place = device.start()
    x = torch.tensor([[1.0 + place.rank, 2.0]], requires_grad=True)
    assert ranks.mean(x).tolist() == [[1.5, 2.0]]
    (ranks.gathered(x) * torch.tensor([[1.0], [10.0]])).sum().backward()
    assert x.grad.tolist() == [[2.0, 2.0] if place.rank == 0 else [20.0, 20.0]]  # each rank asked for it once
    assert torch.get_num_threads() == 1 and place.world == 2
    assert ranks.on_first(lambda: f"told by {place.rank}") == "told by 0"


def fail():
    device.start()
    raise UserError("no such thing")


def be_killed():
    device.start()
    os.kill(os.getpid(), signal.SIGKILL)


class Unreadable:
    """An argument that ends the process which unpickles it, before it can join the others."""

    def __reduce__(self):
        return os._exit, (3,)


def wait_for_others():
    device.start()
    dist.all_reduce(torch.ones(1))


def test_joined_processes_compute_as_one_and_leave_nothing_behind():
    environment, threads = dict(os.environ), torch.get_num_threads()
    with ranks.joined(2, add_up):
        add_up()
    assert ranks.world() == 1 and dict(os.environ) == environment and torch.get_num_threads() == threads


@pytest.mark.parametrize(("peer", "told"), [(fail, "no such thing"), (be_killed, "killed by signal 9")])
def test_a_process_that_ends_before_its_time_is_named_with_its_reason(peer, told):
    message = f"process 1 of this run ended .{told}.; the last checkpoint is kept"
    with pytest.raises(UserError, match=message), ranks.joined(2, peer):
        device.start()
        for _ in range(100):
            dist.all_reduce(torch.ones(1))
            time.sleep(0.05)
    assert ranks.world() == 1


def test_a_process_that_ends_before_it_has_joined_is_not_waited_for():
    begun = time.monotonic()
    with (
        pytest.raises(UserError, match=r"process 1 of this run ended \(exit code 3\)"),
        ranks.joined(2, fail, Unreadable()),
    ):
        pass
    assert time.monotonic() - begun < 60 and ranks.world() == 1


def test_an_error_here_ends_the_others_soon():
    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError), ranks.joined(2, wait_for_others):
        device.start()
        raise ZeroDivisionError
    assert time.monotonic() - begun < 60


def test_one_process_is_this_one():
    with ranks.joined(1, fail):
        assert ranks.world() == 1


def test_processes_are_not_started_where_torchrun_did(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--processes is for a CPU"), ranks.joined(2, fail):
        pass
