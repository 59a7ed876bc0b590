"""Decode a file in a separate process, so that a file that crashes the decoder does not crash the caller."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from genre_tagger.audio.decode import Undecodable, decode_blocks
from genre_tagger.audio.processes import end_with_parent, without_main


def decode_blocks_apart(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Decode a file like `decode_blocks`, in a separate process.

    Args:
        path: the audio file.
        sample_rate: sample rate of the result, in Hz.

    Yields:
        float32 [samples] in [-1, 1].

    Raises:
        Undecodable: as in `decode_blocks`, or the process cannot be started, crashes or is killed (out of memory, for
            example).
    """
    context = multiprocessing.get_context("forkserver")  # starts processes in milliseconds without forking threads
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_blocks, args=(sender, path, sample_rate), daemon=True)
    try:
        with without_main():
            process.start()
    except (OSError, EOFError) as error:  # too many processes or open files, or the fork server failed
        receiver.close()
        raise Undecodable(f"its decoder cannot be started ({error})") from error
    finally:
        sender.close()
    try:
        while (sent := receiver.recv()) is not None:
            if isinstance(sent, Undecodable):
                raise sent
            yield sent
    except (EOFError, OSError) as error:  # OSError in the middle of a block
        process.join()
        raise Undecodable(f"its decoder crashed ({_ending(process.exitcode)})") from error
    finally:
        receiver.close()
        process.kill()
        process.join()


def _send_blocks(sender: Connection, path: Path, sample_rate: int) -> None:
    """Send all blocks, then None or the error that ended decoding. If this process dies, that last item is missing."""
    end_with_parent()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libmpg123 prints notes about harmless flaws of MP3 files to it
    last = None
    try:
        for block in decode_blocks(path, sample_rate):
            sender.send(block)
    except Undecodable as reason:
        last = reason
    sender.send(last)


def _ending(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    return (signal.strsignal(-exit_code) or f"signal {-exit_code}").lower()
