"""Decodes a file in a process of its own: where a broken one crashes the decoder, nothing else is lost."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from genre_tagger.data.decode import Undecodable, decode_blocks
from genre_tagger.data.pool import end_with_parent, without_main


def decode_blocks_apart(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """As `decode_blocks`; raises Undecodable too where the decoder crashes or is killed, as for want of memory."""
    context = multiprocessing.get_context("forkserver")  # starts each process in milliseconds, and forks no threads
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_blocks, args=(sender, path, sample_rate), daemon=True)
    try:
        with without_main():
            process.start()
    except (OSError, EOFError) as error:  # too many processes or files, or no server that starts them
        receiver.close()
        raise Undecodable(f"its decoder cannot be started ({error})") from None
    finally:
        sender.close()
    try:
        while (sent := receiver.recv()) is not None:
            if isinstance(sent, Undecodable):
                raise sent
            yield sent
    except (EOFError, OSError):  # the latter in the middle of a block
        process.join()
        raise Undecodable(f"its decoder crashed ({_ending(process.exitcode)})") from None
    finally:
        receiver.close()
        process.kill()
        process.join()


def _send_blocks(sender: Connection, path: Path, sample_rate: int) -> None:
    """What stands at the end is None, or why there is no more; nothing where this process ends before."""
    end_with_parent()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libmpg123 notes every oddity of an MP3 there
    last = None
    try:
        for block in decode_blocks(path, sample_rate):
            sender.send(block)
    except Undecodable as reason:
        last = reason
    sender.send(last)


def _ending(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code >= 0 else signal.strsignal(-exit_code).lower()
