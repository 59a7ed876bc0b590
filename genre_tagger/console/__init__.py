"""Everything that the command line prints."""

from genre_tagger.console.evaluation import print_evaluation, print_report, print_robustness
from genre_tagger.console.output import progress_bar, say, without_library_notes
from genre_tagger.console.searching import print_compared, print_tuning
from genre_tagger.console.serving import print_comparison, print_export, print_launch, print_page
from genre_tagger.console.songs import print_songs
from genre_tagger.console.training import print_import, print_manifest, print_training

__all__ = [
    "print_compared",
    "print_comparison",
    "print_evaluation",
    "print_export",
    "print_import",
    "print_launch",
    "print_manifest",
    "print_page",
    "print_report",
    "print_robustness",
    "print_songs",
    "print_training",
    "print_tuning",
    "progress_bar",
    "say",
    "without_library_notes",
]
