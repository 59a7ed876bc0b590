"""The band of a demo song: its instruments, their loudness and the patterns that each may play."""

import random
from dataclasses import dataclass

from pretty_midi import ControlChange, Instrument

from genre_tagger.sources.demo.instruments import INSTRUMENTS, KIT_LEVELS_DB
from genre_tagger.sources.demo.parts import OCTAVE, Player
from genre_tagger.sources.demo.patterns import BASSES, CHORDS, DRUMS, MELODIES, suited_to
from genre_tagger.sources.demo.styles import Style

# A-weighted level of single notes for each role, in dBFS. The lead stands out, and every role stays audible.
LEAD_DB, CHORDS_DB, BASS_DB, DRUMS_DB = -36.0, -40.0, -44.0, -45.0
MEASURED_AT_VOLUME = 100
CHANNEL_VOLUME, LOUDEST = 7, 127
MELODY_SEMITONES = 19
CHORD_SEMITONES = 2 * OCTAVE  # the root lies in the lower octave, so its chord fits into two octaves


@dataclass(frozen=True)
class Chair:
    """A place in the band: a player, a MIDI track and the names of the patterns that the player may use."""

    track: Instrument
    player: Player
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Band:
    """The players of a song. Each section uses some of them. `bass` and `drums` are None in songs without them."""

    lead: Chair
    guest: Chair
    harmonies: tuple[Chair, Chair]
    bass: Chair | None
    drums: Chair | None

    def tracks(self) -> list[Instrument]:
        """Return the MIDI tracks that contain notes."""
        chairs = (self.lead, self.guest, *self.harmonies, self.bass, self.drums)
        return [chair.track for chair in chairs if chair and chair.track.notes]


def draw_band(rng: random.Random, style: Style, guest_tag: str, pace: int) -> Band:
    """Draw a band for a song.

    Args:
        rng: random number generator of the song.
        style: style whose instruments and patterns the band uses.
        guest_tag: tag of the guest, who plays any instrument with this tag, regardless of the style.
        pace: -1 for slow songs, whose players use sparse patterns, 1 for fast songs with busy patterns, otherwise 0.

    Returns:
        The band, whose tracks have no notes yet.
    """
    guest = rng.choice([name for name, instrument in INSTRUMENTS.items() if guest_tag in instrument.tags])
    has_bass, has_drums = rng.random() < style.bass_odds, rng.random() < style.drum_odds
    return Band(
        lead=_seat_lead(rng, style, _draw(rng, style.leads), pace),
        guest=_seat_lead(rng, style, guest, pace),
        harmonies=(_seat_harmony(rng, style, pace), _seat_harmony(rng, style, pace)),
        bass=_seat_bass(rng, style, pace) if has_bass else None,
        drums=_seat_drums(rng, style, pace) if has_drums else None,
    )


def _draw(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _seat_lead(rng: random.Random, style: Style, name: str, pace: int) -> Chair:
    player = _player(rng, style, *_register(rng, name, MELODY_SEMITONES))
    return Chair(_track(name, LEAD_DB), player, suited_to(pace, style.melodies, MELODIES))


def _seat_harmony(rng: random.Random, style: Style, pace: int) -> Chair:
    name = _draw(rng, style.harmonies)
    player = _player(rng, style, *_register(rng, name, CHORD_SEMITONES))
    return Chair(_track(name, CHORDS_DB), player, suited_to(pace, style.chords, CHORDS))


def _seat_bass(rng: random.Random, style: Style, pace: int) -> Chair:
    name = _draw(rng, style.basses)
    player = _player(rng, style, INSTRUMENTS[name].low, INSTRUMENTS[name].high)
    return Chair(_track(name, BASS_DB), player, suited_to(pace, style.bass_lines, BASSES))


def _seat_drums(rng: random.Random, style: Style, pace: int) -> Chair:
    kit = rng.choice(style.kits)
    track = Instrument(kit, is_drum=True, name="drums")
    _set_gain(track, DRUMS_DB - KIT_LEVELS_DB[kit])
    return Chair(track, _player(rng, style, 0, 127), suited_to(pace, style.drums, DRUMS))


def _register(rng: random.Random, name: str, semitones: int) -> tuple[int, int]:
    """Draw a register within the instrument's range, so that pitch does not reveal the style or the part."""
    instrument = INSTRUMENTS[name]
    low = rng.randint(instrument.low, max(instrument.low, instrument.high - semitones))
    return low, min(low + semitones, instrument.high)


def _player(rng: random.Random, style: Style, low: int, high: int) -> Player:
    return Player(low, high, rng.randint(80, 100), style.jitter_seconds, rng)


def _track(name: str, level_db: float) -> Instrument:
    track = Instrument(INSTRUMENTS[name].program, name=name)
    _set_gain(track, level_db - INSTRUMENTS[name].level_db)
    return track


def _set_gain(track: Instrument, gain_db: float) -> None:
    volume = MEASURED_AT_VOLUME * 10 ** (gain_db / 40)  # the amplitude is proportional to the square of the volume
    track.control_changes.append(ControlChange(CHANNEL_VOLUME, min(round(volume), LOUDEST), 0.0))
