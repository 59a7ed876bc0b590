"""The command `prepare`."""

import pandas as pd
from command_line import run_command
from facts import check_facts


def test_prepare_lists_what_it_rejects(in_folder, music_folder):
    (music_folder / "b2.mp3").write_text("this is no audio")
    output = run_command("prepare", "folder", "--root", music_folder, "--workers", 1)
    (listed,) = in_folder.glob("data/prepared/*/rejected.csv")
    assert pd.read_csv(listed)["id"].tolist() == ["b2.mp3"]
    check_facts(output, "1 clips rejected", listed.relative_to(in_folder))


def test_nothing_usable_is_refused(in_folder, music_folder, failure):
    for path in music_folder.rglob("*.*"):
        if path.suffix != ".csv":
            path.write_text("this is no audio")
    line = failure("prepare", "folder", "--root", music_folder, "--workers", 1)
    check_facts(line, "train, valid, test", "12 rejected")
