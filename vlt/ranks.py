"""The processes (ranks) that train one run together: what they share, and how a CPU's cores get one each."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from corpus_db.read import UserError
from vlt import device


def world() -> int:
    """How many ranks there are; 1 where none were started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def on_first(make: Callable[[], Any]) -> Any:
    """What `make` gives on the first rank, on all; a UserError there is one on all of them."""
    if world() == 1:
        return make()
    told: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            told = [make(), None]
        except UserError as error:
            told = [None, str(error)]
    dist.broadcast_object_list(told, src=0)
    if told[1] is not None:
        raise UserError(told[1])
    return told[0]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(world())[dist.get_rank()]


def mean(x: Tensor) -> Tensor:
    """The mean over all ranks of a tensor that each has; gradients flow back to each."""
    return x if world() == 1 else _Sum.apply(x) / world()


def gathered(x: Tensor) -> Tensor:
    """The rows of all ranks, in order of rank, as many from each; gradients flow back to where they came from."""
    return x if world() == 1 else _Gather.apply(x)


def refuse(count: int) -> None:
    """UserError where `count` processes cannot be started, as they are joined otherwise."""
    if count > 1 and (torch.cuda.is_available() or "WORLD_SIZE" in os.environ):
        raise UserError("--processes is for a CPU and without torchrun; for several cards: torchrun --nproc-per-node N")


@contextmanager
def joined(count: int, target: Callable[..., None], *args: Any) -> Iterator[None]:
    """In here this process is the first of `count` on this machine, a thread each; the others call `target(*args)`.

    A small model's operations are too short to be shared by threads (docs/performance.md).
    Raises UserError where one of the others ends before its time, and where `refuse` does.
    """
    refuse(count)
    if count == 1:
        yield
        return
    before, threads = dict(os.environ), torch.get_num_threads()
    peers: list[tuple[BaseProcess, Connection]] = []
    patience = 0  # seconds: one that has not joined need not end by itself
    try:
        os.environ.update(_meeting(count))
        for rank in range(1, count):
            peers.append(_started(rank, target, args))
        os.environ.update(RANK="0", LOCAL_RANK="0")
        torch.set_num_threads(1)
        for _, told in peers:  # joining would wait half an hour for one that is gone
            try:
                told.recv()
            except EOFError:
                raise UserError(_reason(peers)) from None
        device.start()
        patience = 10
        yield
    except RuntimeError as error:
        if "gloo" not in str(error):  # which Gloo makes of a peer that is gone, and names its own file
            raise
        raise UserError(_reason(peers) or f"the processes of this run lost each other ({error})") from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        for peer, _ in peers:
            peer.join(patience)  # it ends with the first, or when it misses it
            peer.kill()
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(before)


def _meeting(count: int) -> dict[str, str]:
    """Where the processes find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    return where | {"WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}


def _started(rank: int, target: Callable[..., None], args: tuple[Any, ...]) -> tuple[BaseProcess, Connection]:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))  # which it inherits, as what it is deaf to
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    peer = context.Process(target=_call, args=(theirs, target, args), daemon=True)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        peer.start()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    theirs.close()
    return peer, ours


def _call(told: Connection, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    """In a peer: what goes wrong is told to the first process, which tells the user, once; without it this one ends.

    A peer is deaf to Ctrl-C and SIGTERM until it trains, and then all agree on them: the first process ends it.
    """
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    try:
        told.send("ready")
        device.start()
        target(*args)
    except Exception as error:
        with suppress(OSError):  # the first is gone
            told.send(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
        sys.exit(1)


def _end_with_the_first() -> None:
    first = parent_process()
    assert first is not None
    first.join()
    os._exit(1)


def _reason(peers: list[tuple[BaseProcess, Connection]]) -> str | None:
    """Why a peer ended before its time."""
    ending = wait([peer.sentinel for peer, _ in peers], timeout=20)
    for rank, (peer, told) in enumerate(peers, start=1):
        if peer.sentinel in ending:
            peer.join(20)
        if not peer.exitcode:
            continue
        said = f"exit code {peer.exitcode}" if peer.exitcode > 0 else f"killed by signal {-peer.exitcode}"
        with suppress(EOFError):  # it had nothing to say
            said = told.recv()
        return f"process {rank} of this run ended ({said}); the last checkpoint is kept"
    return None
